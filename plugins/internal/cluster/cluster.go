// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package cluster is the API server as the plugin's actions see it: one client, which reads past every cache, since an
// action decides on what is there now. Nothing is kept between two calls but the rules of a backup: see RulesOf.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
)

// Cluster is what every action gets. It is safe for concurrent use.
type Cluster struct {
	// Context ends with the plugin's process. Velero's interfaces hand none to an action.
	Context context.Context //nolint:containedctx // see above
	// Client reads and writes the API server, uncached.
	Client client.Client
	// Namespace is the one that Velero runs in, and so the one of all its and our custom resources.
	Namespace string
	// Now tells the time.
	Now func() time.Time

	rules   rulesOf
	answers answers
}

// Scheme returns the kinds that the actions read and write.
func Scheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, appsv1.AddToScheme, coordinationv1.AddToScheme, velerov1.AddToScheme, resticv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("registering kinds: %w", err)
		}
	}
	return scheme, nil
}

// Connect returns the cluster of the configuration. It does not talk to the API server yet.
func Connect(ctx context.Context, config *rest.Config, namespace string) (*Cluster, error) {
	if namespace == "" {
		return nil, errors.New("the environment variable VELERO_NAMESPACE is not set: " +
			"set it on the Velero server's container to the namespace that Velero runs in")
	}
	scheme, err := Scheme()
	if err != nil {
		return nil, err
	}
	unlimited := rest.CopyConfig(config)
	// client-go's default of five requests a second would make a namespace with a hundred pods wait for the client
	// alone. The API server has its own fairness, which is the one that knows the load.
	unlimited.QPS = -1
	c, err := client.New(unlimited, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("building the client of the API server: %w", err)
	}
	return &Cluster{Context: ctx, Client: c, Namespace: namespace, Now: time.Now}, nil
}

// Get reads an object, again if the API server is only busy. The error is the API server's own.
func (c *Cluster) Get(namespace, name string, object client.Object) error {
	return c.Retry(func() error {
		return c.Client.Get(c.Context, client.ObjectKey{Namespace: namespace, Name: name}, object)
	})
}

// Retry does something again, for about eight seconds in all, as long as it fails for a reason that passes: a busy or
// restarting API server. Velero counts a backup as partially failed at the first error of an action.
func (c *Cluster) Retry(do func() error) error {
	backoff := wait.Backoff{Steps: 5, Duration: 200 * time.Millisecond, Factor: 3, Jitter: 0.2}
	return retry.OnError(backoff, func(err error) bool { return c.Context.Err() == nil && passes(err) }, do)
}

// passes says whether an error of the API server may be gone a moment later.
func passes(err error) bool {
	var timeout net.Error
	return apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) || apierrors.IsTooManyRequests(err) ||
		apierrors.IsInternalError(err) || apierrors.IsServiceUnavailable(err) ||
		utilnet.IsConnectionRefused(err) || utilnet.IsConnectionReset(err) || utilnet.IsProbableEOF(err) ||
		(errors.As(err, &timeout) && timeout.Timeout())
}

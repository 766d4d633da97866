// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package leader elects one agent of the cluster, and runs what only one agent may do there.
package leader

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/velero-restic/velero-plugin-for-restic/agent/metric"
)

// pauseAfterFailure is how long an agent that could not lead does not try again: long enough for another one to try.
const pauseAfterFailure = 30 * time.Second

// Role is what one agent of the cluster does besides the work for its node. It is a manager.Runnable of the node's
// manager, and has a manager of its own for as long as it leads, so that an agent that loses the Lease goes on with the
// transfers of its node.
type Role struct {
	// Config is how to reach the API server.
	Config *rest.Config
	// Scheme has the kinds that the controllers read.
	Scheme *runtime.Scheme
	// Namespace is Velero's.
	Namespace string
	// Node is the name of this agent's node, and its identity in the election.
	Node string
	// Metrics forgets what only the leader shows when this agent no longer leads.
	Metrics *metric.Set
	// Setup adds the leader's controllers to the manager. It is called each time this agent starts to lead.
	Setup func(ctx context.Context, mgr ctrl.Manager) error
}

var _ manager.Runnable = &Role{}

// Start takes part in the election until the context ends.
func (r *Role) Start(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(r.Config)
	if err != nil {
		return fmt.Errorf("preparing the election: %w", err)
	}
	e := election{
		client: client, namespace: r.Namespace, identity: r.Node, lead: r.lead, pause: pauseAfterFailure,
	}
	return e.run(ctx)
}

// lead runs the leader's controllers until the context ends.
func (r *Role) lead(ctx context.Context) error {
	ctrl.Log.Info("Leading")
	defer r.Metrics.LeaderGone()
	mgr, err := ctrl.NewManager(r.Config, ctrl.Options{
		Scheme:  r.Scheme,
		Metrics: metricsserver.Options{BindAddress: "0"}, // the node's manager serves what both count
		Cache: cache.Options{
			DefaultNamespaces:           map[string]cache.Config{r.Namespace: {}},
			ReaderFailOnMissingInformer: true,
		},
	})
	if err != nil {
		return fmt.Errorf("preparing the leader role: %w", err)
	}
	if err := r.Setup(ctx, mgr); err != nil {
		return fmt.Errorf("preparing the leader role: %w", err)
	}
	return mgr.Start(ctx)
}

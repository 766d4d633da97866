// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package annotate

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/velero-restic/velero-plugin-for-restic/agent/metric"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/pluginconfig"
)

const (
	// annotateQPS and annotateBurst bound the patches that a change of the rules brings: 10,000 pods in some 8 minutes.
	patchQPS, patchBurst = 20, 40
	// retryInterval is how long a Runner waits after a failure, such as missing permissions.
	retryInterval = time.Minute
)

// Runner runs the Reconciler for as long as the leader leads. Its cache holds the pods and claims of the whole cluster,
// so that it runs with --annotate-pods only. It has a manager of its own, so that missing permissions hold up nothing
// else.
type Runner struct {
	// Config is how to reach the API server.
	Config *rest.Config
	// Scheme has the kinds of Kubernetes.
	Scheme *runtime.Scheme
	// Client asks for the agent's permissions.
	Client client.Client
	// Reader reads from the API server.
	Reader client.Reader
	// Recorder takes Events on the ConfigMap with the rules.
	Recorder record.EventRecorder
	// Metrics counts what is written.
	Metrics *metric.Set
	// Namespace is Velero's.
	Namespace string
}

var _ manager.Runnable = &Runner{}

// Start annotates pods until the context ends. It never fails: a failure is logged, recorded as an Event, and tried
// again.
func (r *Runner) Start(ctx context.Context) error {
	for {
		if err := r.annotate(ctx); err != nil && ctx.Err() == nil {
			ctrl.Log.Error(err, "Annotating pods")
			r.recordEvent(ctx, err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retryInterval):
		}
	}
}

func (r *Runner) annotate(ctx context.Context) error {
	if err := CheckRights(ctx, r.Client, r.Namespace); err != nil {
		return err
	}
	config := rest.CopyConfig(r.Config)
	config.QPS, config.Burst = patchQPS, patchBurst
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:  r.Scheme,
		Metrics: metricsserver.Options{BindAddress: "0"},
		Cache:   CacheOptions(r.Namespace),
	})
	if err != nil {
		return fmt.Errorf("preparing to annotate pods: %w", err)
	}
	pods := &Reconciler{
		Client: mgr.GetClient(), Recorder: r.Recorder, Metrics: r.Metrics, Namespace: r.Namespace,
	}
	if err := pods.SetupWithManager(ctx, mgr); err != nil {
		return fmt.Errorf("preparing to annotate pods: %w", err)
	}
	return mgr.Start(ctx)
}

// recordEvent records an Event on the ConfigMap with the rules, if there is one that can be read.
func (r *Runner) recordEvent(ctx context.Context, cause error) {
	var list corev1.ConfigMapList
	if err := r.Reader.List(ctx, &list, client.InNamespace(r.Namespace),
		client.MatchingLabelsSelector{Selector: pluginconfig.Selector(contract.PluginKindBackup)}); err != nil {
		ctrl.Log.V(1).Info("Finding the rules to put an Event on", "reason", err.Error())
		return
	}
	if configMap, _ := pluginconfig.Choose(list.Items); configMap != nil {
		r.Recorder.Event(configMap, corev1.EventTypeWarning, resticv1.ReasonAnnotateFailed,
			fmt.Sprintf("Pods are not annotated: %v", cause))
	}
}

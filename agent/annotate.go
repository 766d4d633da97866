// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/velero-restic/velero-plugin-for-restic/agent/controller"
	"github.com/velero-restic/velero-plugin-for-restic/agent/metric"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/pluginconfig"
)

const (
	// annotateQPS and annotateBurst bound the patches that a change of the rules brings: 10,000 pods in some 8 minutes.
	annotateQPS, annotateBurst = 20, 40
	// annotateRetry is how long the annotator waits for rights that it lacks, or after a failure.
	annotateRetry = time.Minute
)

// annotator gives pods the annotations that the rules want, for as long as the leader leads. Its cache holds the pods
// and claims of the whole cluster, so it is there with --annotate-pods alone; and it has a manager of its own, so that
// rights that are missing hold up nothing else.
type annotator struct {
	config    *rest.Config
	namespace string
	client    client.Client
	reader    client.Reader
	recorder  record.EventRecorder
	counters  *metric.Set
}

// addAnnotator adds the annotator, if it is turned on.
func (l *leader) addAnnotator(mgr manager.Manager, recorder record.EventRecorder) error {
	if !l.options.AnnotatePods {
		return nil
	}
	config := rest.CopyConfig(l.config)
	config.QPS, config.Burst = annotateQPS, annotateBurst
	return addRunnables(mgr, &annotator{
		config: config, namespace: l.options.Namespace, client: mgr.GetClient(), reader: mgr.GetAPIReader(),
		recorder: recorder, counters: l.counters,
	})
}

// Start annotates pods until the context ends. It never fails: what goes wrong is told and tried again.
func (a *annotator) Start(ctx context.Context) error {
	for {
		if err := a.annotate(ctx); err != nil && ctx.Err() == nil {
			ctrl.Log.Error(err, "Annotating pods")
			a.tell(ctx, err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(annotateRetry):
		}
	}
}

func (a *annotator) annotate(ctx context.Context) error {
	if err := controller.CheckAnnotateRights(ctx, a.client, a.namespace); err != nil {
		return err
	}
	mgr, err := ctrl.NewManager(a.config, ctrl.Options{
		Scheme:  newScheme(),
		Metrics: metricsserver.Options{BindAddress: "0"},
		Cache:   controller.AnnotateCache(a.namespace),
	})
	if err != nil {
		return fmt.Errorf("preparing to annotate pods: %w", err)
	}
	pods := &controller.AnnotateReconciler{
		Client: mgr.GetClient(), Recorder: a.recorder, Metrics: a.counters, Namespace: a.namespace,
	}
	if err := pods.SetupWithManager(mgr); err != nil {
		return fmt.Errorf("preparing to annotate pods: %w", err)
	}
	return mgr.Start(ctx)
}

// tell puts an Event on the ConfigMap with the rules, where there is one that can be read.
func (a *annotator) tell(ctx context.Context, why error) {
	var list corev1.ConfigMapList
	if err := a.reader.List(ctx, &list, client.InNamespace(a.namespace),
		client.MatchingLabelsSelector{Selector: pluginconfig.Selector(contract.PluginKindBackup)}); err != nil {
		ctrl.Log.V(1).Info("Finding the rules to put an Event on", "reason", err.Error())
		return
	}
	if configMap, _ := pluginconfig.Choose(list.Items); configMap != nil {
		a.recorder.Event(configMap, corev1.EventTypeWarning, resticv1.ReasonAnnotateFailed,
			fmt.Sprintf("Pods are not annotated: %v", why))
	}
}

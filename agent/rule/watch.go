// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package rule reports rules that select volumes and cannot be read.
package rule

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/agent/event"
	"github.com/velero-restic/velero-plugin-for-restic/agent/metric"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/pluginconfig"
	"github.com/velero-restic/velero-plugin-for-restic/internal/volumerule"
)

// rulesInterval is how often the leader looks at the rules.
const rulesInterval = 15 * time.Second

// Watch tells of rules that cannot be read before a backup has to. It runs in the leader alone, as a
// manager.Runnable. It asks the API server now and then instead of keeping a cache, so that an agent with permissions
// from before there were rules goes on with the rest of its work.
type Watch struct {
	// Reader reads from the API server.
	Reader client.Reader
	// Recorder takes Events on the ConfigMaps.
	Recorder record.EventRecorder
	// Metrics has the gauge.
	Metrics *metric.Set
	// Namespace is Velero's.
	Namespace string

	// told is what was said of each ConfigMap that has rules, toldUnread of the others: see tell.
	reported, reportedUnread map[string]string
}

// Start looks at the rules until the context ends. It never fails: what goes wrong is logged and tried again.
func (w *Watch) Start(ctx context.Context) error {
	ticker := time.NewTicker(rulesInterval)
	defer ticker.Stop()
	for turn := 0; ; turn++ {
		err := w.check(ctx)
		if turn%unreadCycles == 0 {
			err = errors.Join(err, w.checkUnread(ctx))
		}
		if err != nil && ctx.Err() == nil {
			ctrl.LoggerFrom(ctx).Error(err, "Looking at the rules that select volumes")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// The leader reports rules that cannot be read. Their ConfigMap can have any name.
//
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=list,namespace=velero

// check looks once. A ConfigMap gets an Event for each of its versions that has something wrong.
func (w *Watch) check(ctx context.Context) error {
	var list corev1.ConfigMapList
	if err := w.Reader.List(ctx, &list, client.InNamespace(w.Namespace), rulesSelector()); err != nil {
		w.Metrics.RulesUnknown()
		return fmt.Errorf("listing the ConfigMaps with rules: %w", err)
	}
	used, _ := pluginconfig.Choose(list.Items)
	_, problem := volumerule.Parse(used)
	w.Metrics.RulesValid(problem == nil)
	reported := map[string]string{}
	for i := range list.Items {
		configMap := &list.Items[i]
		message := ""
		switch {
		case configMap.Name != used.Name:
			message = fmt.Sprintf("It is not used, since ConfigMap %s comes first by name: delete one of them",
				used.Name)
		case problem != nil:
			message = "Nothing is selected by rules, and backups are PartiallyFailed: " + problem.Error()
		}
		w.recordEvent(configMap, message, w.reported, reported)
	}
	w.reported = reported
	return nil
}

// recordEvent puts an Event on a ConfigMap that has something wrong, unless that was said of this version of it before.
// What is said is noted by the ConfigMap's name.
func (w *Watch) recordEvent(configMap *corev1.ConfigMap, message string, before, reported map[string]string) {
	key := strings.Join([]string{configMap.Name, string(configMap.UID), configMap.ResourceVersion, message}, "/")
	reported[configMap.Name] = key
	if message != "" && before[configMap.Name] != key {
		w.Recorder.Event(configMap, corev1.EventTypeWarning, resticv1.ReasonBadConfiguration, event.Clip(message))
	}
}

// rulesSelector selects the ConfigMaps with rules.
func rulesSelector() client.ListOption {
	return client.MatchingLabelsSelector{Selector: pluginconfig.Selector(contract.PluginKindBackup)}
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package rule

import (
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/pluginconfig"
	"github.com/velero-restic/velero-plugin-for-restic/internal/volumerule"
)

const (
	// unreadTurns is how many looks at the rules go by from one look at all ConfigMaps to the next: five minutes, since
	// it reads all of them.
	unreadCycles = 20
	// unreadPage is how many of them are in memory at a time. The largest has one MiB.
	unreadPage = 20
)

// checkUnread reads all ConfigMaps of Velero's namespace once. It records an Event on each that looks meant for the
// plugin but has no effect, because its labels do not match: a backup does not report rules that it does not find.
func (w *Watch) checkUnread(ctx context.Context) error {
	reported := map[string]string{}
	for next, more := "", true; more; more = next != "" {
		var list corev1.ConfigMapList
		if err := w.Reader.List(ctx, &list, client.InNamespace(w.Namespace), client.Limit(unreadPage),
			client.Continue(next)); err != nil {
			// The next look is not to tell again what this one has told, nor what it has not come to.
			merged := map[string]string{}
			maps.Copy(merged, w.reportedUnread)
			maps.Copy(merged, reported)
			w.reportedUnread = merged
			return fmt.Errorf("listing all ConfigMaps: %w", err)
		}
		next = list.Continue
		for i := range list.Items {
			w.recordEvent(&list.Items[i], unreadReason(&list.Items[i]), w.reportedUnread, reported)
		}
	}
	w.reportedUnread = reported
	return nil
}

// unreadReason returns why a ConfigMap that looks meant for the plugin has no effect, and what to do; empty for all
// others.
func unreadReason(configMap *corev1.ConfigMap) string {
	set := labels.Set(configMap.Labels)
	_, marked := set[contract.LabelPluginConfig]
	kind, named := set[contract.LabelPluginName]
	_, hasRules := configMap.Data[volumerule.KeyRules]
	switch {
	case hasRules && pluginconfig.Selector(contract.PluginKindBackup).Matches(set):
		return ""
	case hasRules:
		return fmt.Sprintf("Nobody reads the rules in it, since it lacks the label %s, or the label %s=%s. To have "+
			"backups go by them: %s", contract.LabelPluginConfig, contract.LabelPluginName, contract.PluginKindBackup,
			labelCommand(configMap, contract.PluginKindBackup))
	case named && !slices.Contains(pluginconfig.Kinds(), kind):
		return fmt.Sprintf("Nobody reads it, since its label %s is %q. It must be %s for rules that select volumes, "+
			"or %s for the container that waits in restored pods: correct it", contract.LabelPluginName, kind,
			contract.PluginKindBackup, contract.PluginKindRestore)
	case named && !marked:
		return fmt.Sprintf("Nobody reads it, since it lacks the label %s: %s", contract.LabelPluginConfig,
			labelCommand(configMap, kind))
	}
	return ""
}

// labelCommand gives a ConfigMap the labels of this kind.
func labelCommand(configMap *corev1.ConfigMap, kind string) string {
	return fmt.Sprintf("kubectl -n %s label configmap %s --overwrite %s= %s=%s", configMap.Namespace, configMap.Name,
		contract.LabelPluginConfig, contract.LabelPluginName, kind)
}

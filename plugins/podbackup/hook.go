// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package podbackup

import (
	"slices"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	"github.com/vmware-tanzu/velero/pkg/util/collections"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// hookAnnotations are the annotations by which a pod brings hooks of its own, the last one from before Velero had two
// phases (velero v1.18.3, internal/hook/item_hook_handler.go).
func hookAnnotations() []string {
	return []string{
		"pre.hook.backup.velero.io/command", "post.hook.backup.velero.io/command", "hook.backup.velero.io/command",
	}
}

// hasHooks says whether Velero runs a hook in this pod in this backup.
func hasHooks(pod *corev1.Pod, backup *velerov1.Backup) bool {
	if slices.ContainsFunc(hookAnnotations(), func(key string) bool { return pod.Annotations[key] != "" }) {
		return true
	}
	return slices.ContainsFunc(backup.Spec.Hooks.Resources, func(hook velerov1.BackupResourceHookSpec) bool {
		return len(hook.PreHooks)+len(hook.PostHooks) > 0 && selects(hook, pod)
	})
}

// selects says whether a hook of the backup's spec applies to the pod. A selector that cannot be read counts as one
// that does: Velero fails the backup over it anyway.
func selects(hook velerov1.BackupResourceHookSpec, pod *corev1.Pod) bool {
	namespaces := collections.NewIncludesExcludes().
		Includes(hook.IncludedNamespaces...).Excludes(hook.ExcludedNamespaces...)
	if !namespaces.ShouldInclude(pod.Namespace) {
		return false
	}
	isPods := func(resource string) bool {
		return slices.Contains([]string{"*", "pods", "pod", "po"}, resource)
	}
	if slices.ContainsFunc(hook.ExcludedResources, isPods) ||
		(len(hook.IncludedResources) > 0 && !slices.ContainsFunc(hook.IncludedResources, isPods)) {
		return false
	}
	if hook.LabelSelector == nil {
		return true
	}
	selector, err := metav1.LabelSelectorAsSelector(hook.LabelSelector)
	return err != nil || selector.Matches(labels.Set(pod.Labels))
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package scope

import (
	"path"
	"slices"
	"strings"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/volumepolicy"
)

// Combine returns the spec with the lists of kinds that the backup's resource policies add to it. What the spec says of
// a kind goes before them, and the old filters know nothing of them, so that Velero refuses such a backup
// (velero v1.18.3, pkg/util/collections/includes_excludes.go, CombineWithPolicy).
func Combine(spec *velerov1.BackupSpec, policy *volumepolicy.Resources) *velerov1.BackupSpec {
	if policy == nil || UsesOldFilters(spec) {
		return spec
	}
	combined := *spec
	combined.IncludedNamespaceScopedResources, combined.ExcludedNamespaceScopedResources = combineLists(true,
		spec.IncludedNamespaceScopedResources, spec.ExcludedNamespaceScopedResources,
		policy.IncludedNamespaceScoped, policy.ExcludedNamespaceScoped)
	combined.IncludedClusterScopedResources, combined.ExcludedClusterScopedResources = combineLists(false,
		spec.IncludedClusterScopedResources, spec.ExcludedClusterScopedResources,
		policy.IncludedClusterScoped, policy.ExcludedClusterScoped)
	return &combined
}

// combineLists adds entries of a policy that no list has yet: first those that exclude, which then keep out their like.
func combineLists(namespaced bool, included, excluded, addIncluded, addExcluded []string) (in, out []string) {
	in, out = slices.Clone(included), slices.Clone(excluded)
	isNew := func(item string) bool {
		known, is := resourceOf(item)
		return (!is || known.namespaced == namespaced) && !covered(in, item) && !covered(out, item)
	}
	for _, item := range addExcluded {
		if isNew(item) {
			out = append(out, item)
		}
	}
	for _, item := range addIncluded {
		if isNew(item) {
			in = append(in, item)
		}
	}
	return in, out
}

// covered says whether an entry of the list is the item, or a pattern that matches its name.
func covered(list []string, item string) bool {
	name := canonical(item)
	return slices.ContainsFunc(list, func(entry string) bool {
		entry = canonical(entry)
		matched, err := path.Match(entry, name)
		return entry == name || err == nil && matched
	})
}

// canonical returns the name by which patterns know a resource. Other resources than ours are not looked up: under
// which of its names one is listed does not matter to ours.
func canonical(item string) string {
	if resource, is := resourceOf(item); is {
		return resource.names[0]
	}
	return item
}

func resourceOf(item string) (Resource, bool) {
	for _, resource := range []Resource{Pods(), Claims(), Volumes()} {
		if slices.Contains(resource.names, strings.ToLower(item)) {
			return resource, true
		}
	}
	return Resource{}, false
}

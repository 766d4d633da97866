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

// Combine returns the spec with the resource lists of the backup's resource policies added to it. Entries of the spec
// take precedence. The old filters do not combine with a policy: Velero rejects such a backup
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

// combineLists adds the policy's entries that neither list covers yet: the excluded entries first, so that they take
// precedence over included ones.
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

// covered returns whether the list contains the item, or a pattern that matches its name.
func covered(list []string, item string) bool {
	name := canonical(item)
	return slices.ContainsFunc(list, func(entry string) bool {
		entry = canonical(entry)
		matched, err := path.Match(entry, name)
		return entry == name || err == nil && matched
	})
}

// canonical returns the plural name of pods, claims and volumes, which patterns are matched with. Other items stay as
// they are, because their aliases do not matter here.
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

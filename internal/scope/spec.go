// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package scope evaluates which pods and claims a Velero backup includes, by Velero's own rules. It makes no API calls.
package scope

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// Resource is a kind of objects that a backup can include or exclude.
type Resource struct {
	// names are the names that the API server's discovery accepts for it. Velero matches globs with the first one
	// (velero v1.18.3, pkg/util/collections/includes_excludes.go, GetResourceIncludesExcludes).
	names      []string
	namespaced bool
}

// Pods returns the resource pods.
func Pods() Resource { return Resource{[]string{"pods", "pod", "po"}, true} }

// Claims returns the resource persistentvolumeclaims.
func Claims() Resource {
	return Resource{[]string{"persistentvolumeclaims", "persistentvolumeclaim", "pvc"}, true}
}

// Volumes returns the resource persistentvolumes.
func Volumes() Resource {
	return Resource{[]string{"persistentvolumes", "persistentvolume", "pv"}, false}
}

func (r Resource) in(entries []string) bool {
	return slices.ContainsFunc(entries, func(entry string) bool {
		entry = strings.ToLower(entry)
		matched, err := path.Match(entry, r.names[0])
		return slices.Contains(r.names, entry) || err == nil && matched
	})
}

// Includes returns whether a backup includes a namespaced resource
// (velero v1.18.3, pkg/util/collections/includes_excludes.go, ShouldInclude).
func Includes(spec *velerov1.BackupSpec, resource Resource) bool {
	if UsesOldFilters(spec) {
		return !resource.in(spec.ExcludedResources) &&
			(len(spec.IncludedResources) == 0 || resource.in(spec.IncludedResources))
	}
	return !resource.in(spec.ExcludedNamespaceScopedResources) &&
		(len(spec.IncludedNamespaceScopedResources) == 0 || resource.in(spec.IncludedNamespaceScopedResources))
}

// includesVolumes returns whether a backup includes the PersistentVolumes of its claims
// (velero v1.18.3, pkg/util/collections/includes_excludes.go, ShouldExclude).
func includesVolumes(spec *velerov1.BackupSpec) bool {
	if !UsesOldFilters(spec) {
		return !Volumes().in(spec.ExcludedClusterScopedResources)
	}
	switch cluster := spec.IncludeClusterResources; {
	case Volumes().in(spec.ExcludedResources):
		return false
	case cluster != nil:
		return *cluster
	}
	return len(spec.IncludedResources) == 0 || Volumes().in(spec.IncludedResources)
}

// UsesOldFilters returns whether the spec uses the older resource filters instead of those by scope (velero v1.18.3,
// pkg/util/collections/includes_excludes.go, UseOldResourceFilters).
func UsesOldFilters(spec *velerov1.BackupSpec) bool {
	return spec.IncludeClusterResources != nil || len(spec.IncludedResources) > 0 || len(spec.ExcludedResources) > 0
}

func usesNewFilters(spec *velerov1.BackupSpec) bool {
	return len(spec.IncludedNamespaceScopedResources)+len(spec.ExcludedNamespaceScopedResources)+
		len(spec.IncludedClusterScopedResources)+len(spec.ExcludedClusterScopedResources) > 0
}

// validate returns an error for a spec that Velero rejects
// (velero v1.18.3, pkg/controller/backup_controller.go, prepareBackupRequest).
func validate(spec *velerov1.BackupSpec) error {
	if UsesOldFilters(spec) && usesNewFilters(spec) {
		return errors.New("includedResources, excludedResources and includeClusterResources cannot be used together " +
			"with the filters for cluster-scoped and namespace-scoped resources")
	}
	if spec.LabelSelector != nil && spec.OrLabelSelectors != nil {
		return errors.New("labelSelector and orLabelSelectors cannot be used together")
	}
	if UsesOldFilters(spec) {
		if err := validateLists("Resources", spec.IncludedResources, spec.ExcludedResources, false); err != nil {
			return err
		}
	}
	err := errors.Join(
		validateLists("ClusterScopedResources", spec.IncludedClusterScopedResources,
			spec.ExcludedClusterScopedResources, true),
		validateLists("NamespaceScopedResources", spec.IncludedNamespaceScopedResources,
			spec.ExcludedNamespaceScopedResources, true),
		validateLists("Namespaces", spec.IncludedNamespaces, spec.ExcludedNamespaces, false),
	)
	for _, pattern := range slices.Concat(spec.IncludedNamespaces, spec.ExcludedNamespaces) {
		err = errors.Join(err, validatePattern(pattern))
	}
	return err
}

// validateLists checks the same as Velero's ValidateIncludesExcludes and ValidateScopedIncludesExcludes.
func validateLists(field string, included, excluded []string, excludesAll bool) error {
	const all = "*"
	switch {
	case len(included) > 1 && slices.Contains(included, all):
		return fmt.Errorf("included%s must be either * or a list without *", field)
	case slices.Contains(excluded, all) && (!excludesAll || len(included) > 0 || len(excluded) > 1):
		return fmt.Errorf("excluded%s must not contain *", field)
	}
	for _, item := range excluded {
		if slices.Contains(included, item) {
			return fmt.Errorf("%s is both in included%s and in excluded%s", item, field, field)
		}
	}
	return nil
}

// validatePattern returns an error for a pattern that is neither the name of a namespace nor a valid glob
// (velero v1.18.3, pkg/util/wildcard/expand.go, ValidateNamespaceName, and validateNamespaceName of collections).
func validatePattern(pattern string) error {
	if pattern == "" {
		return nil
	}
	_, badGlob := path.Match(pattern, "")
	name := strings.NewReplacer("*", "x", "?", "x", "[", "x", "]", "x").Replace(pattern)
	if strings.Contains(pattern, "**") || badGlob != nil || len(validation.ValidateNamespaceName(name, false)) > 0 {
		return fmt.Errorf("%q is neither a namespace name nor a valid pattern", pattern)
	}
	return nil
}

// selectors returns the label selectors of a backup, of which an object must match one. Without selectors, all objects
// match.
func selectors(spec *velerov1.BackupSpec) ([]labels.Selector, error) {
	wanted := spec.OrLabelSelectors
	if spec.LabelSelector != nil {
		wanted = []*metav1.LabelSelector{spec.LabelSelector}
	}
	var all []labels.Selector
	for _, s := range wanted {
		selector, err := metav1.LabelSelectorAsSelector(s)
		if err != nil {
			return nil, fmt.Errorf("reading the label selector: %w", err)
		}
		all = append(all, selector)
	}
	return all, nil
}

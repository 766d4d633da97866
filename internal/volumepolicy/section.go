// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package volumepolicy

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Resources are the section includeExcludePolicy: kinds of objects that a backup takes or leaves out beside those in
// the lists of its spec, whose names the fields have.
type Resources struct {
	IncludedClusterScoped   []string `yaml:"includedClusterScopedResources"`
	ExcludedClusterScoped   []string `yaml:"excludedClusterScopedResources"`
	IncludedNamespaceScoped []string `yaml:"includedNamespaceScopedResources"`
	ExcludedNamespaceScoped []string `yaml:"excludedNamespaceScopedResources"`
}

// Sections are what the ConfigMap of a Backup says beside the volume policies. In the cluster-wide one they do not
// count (velero v1.18.3, resource_policies.go, GetGlobalResourcePolicies).
type Sections struct {
	// Resources is nil without the section.
	Resources *Resources
	// Filtered says that there are filter policies, of namespaces or of cluster-scoped objects.
	Filtered bool
	// VolumesFiltered says that PersistentVolumes, or the contents of snapshots, are among the latter.
	VolumesFiltered bool
	// Unknown are the names of sections that Velero 1.18 does not know, and refuses.
	Unknown []string

	namespaces []string // patterns of namespaces that have filter policies
}

// Sections returns what the policies' ConfigMap says beside them. Merged policies have none.
func (p *Policies) Sections() Sections {
	if p == nil {
		return Sections{}
	}
	return p.sections
}

// FilterNamespace says whether there is a filter policy for a namespace.
func (s Sections) FilterNamespace(name string) bool {
	return slices.ContainsFunc(s.namespaces, func(pattern string) bool {
		matched, err := path.Match(pattern, name)
		return err != nil || matched
	})
}

func parseSections(content map[string]yaml.Node) (Sections, error) {
	var s Sections
	for _, name := range slices.Sorted(maps.Keys(content)) {
		node := content[name]
		var err error
		switch name {
		case "version", "volumePolicies":
		case "includeExcludePolicy":
			err = s.setResources(&node)
		case "namespacedFilterPolicies":
			err = s.setNamespaces(&node)
		case "clusterScopedFilterPolicy":
			err = s.setClusterScoped(&node)
		default:
			s.Unknown = append(s.Unknown, name)
		}
		if err != nil {
			return s, fmt.Errorf("%s: %w", name, err)
		}
	}
	return s, nil
}

func (s *Sections) setResources(node *yaml.Node) error {
	var fields map[string]any
	if err := node.Decode(&fields); err != nil {
		return fmt.Errorf("decoding: %w", err)
	}
	if fields == nil {
		return nil
	}
	s.Resources = &Resources{}
	if err := recode(fields, s.Resources); err != nil {
		return err
	}
	return errors.Join(
		checkLists(s.Resources.IncludedClusterScoped, s.Resources.ExcludedClusterScoped),
		checkLists(s.Resources.IncludedNamespaceScoped, s.Resources.ExcludedNamespaceScoped))
}

func checkLists(included, excluded []string) error {
	for _, item := range slices.Concat(included, excluded) {
		switch {
		case item == "*":
			return errors.New("no list may have *")
		case slices.Contains(included, item) && slices.Contains(excluded, item):
			return fmt.Errorf("%s is both included and excluded", item)
		}
	}
	return nil
}

func (s *Sections) setNamespaces(node *yaml.Node) error {
	var policies []namespacedFilter
	if err := recode(node, &policies); err != nil {
		return err
	}
	for i, policy := range policies {
		if len(policy.Namespaces) == 0 {
			return fmt.Errorf("[%d]: it must name namespaces", i)
		}
		for _, name := range policy.Namespaces {
			if slices.Contains(s.namespaces, name) {
				return fmt.Errorf("[%d]: namespace %s is there twice", i, name)
			}
			s.namespaces = append(s.namespaces, name)
		}
		if err := checkFilters(policy.Filters, true); err != nil {
			return fmt.Errorf("[%d]: %w", i, err)
		}
		s.Filtered = true
	}
	return nil
}

func (s *Sections) setClusterScoped(node *yaml.Node) error {
	var policy *clusterScopedFilter
	if err := recode(node, &policy); err != nil || policy == nil {
		return err
	}
	if err := checkFilters(policy.Filters, false); err != nil {
		return err
	}
	s.Filtered = true
	for _, filter := range policy.Filters {
		s.VolumesFiltered = s.VolumesFiltered || slices.ContainsFunc(filter.Kinds, func(kind string) bool {
			name, _, _ := strings.Cut(strings.ToLower(kind), ".")
			return slices.Contains([]string{
				"persistentvolumes", "persistentvolume", "pv",
				"volumesnapshotcontents", "volumesnapshotcontent", "vsc", "vscs",
			}, name)
		})
	}
	return nil
}

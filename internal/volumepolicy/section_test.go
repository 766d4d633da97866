// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package volumepolicy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestSections(t *testing.T) {
	cases := map[string]struct {
		content string
		want    Sections
	}{
		"none": {"volumePolicies: []", Sections{}},
		"kinds": {
			"includeExcludePolicy: {includedNamespaceScopedResources: [pods], excludedClusterScopedResources: [pv]}",
			Sections{Resources: &Resources{IncludedNamespaceScoped: []string{"pods"}, ExcludedClusterScoped: []string{"pv"}}},
		},
		"no kinds, which Velero takes for a policy all the same": {
			"includeExcludePolicy: {}", Sections{Resources: &Resources{}},
		},
		"nothing in the section":  {"includeExcludePolicy:\nclusterScopedFilterPolicy:\n", Sections{}},
		"namespaces":              {"namespacedFilterPolicies: [{namespaces: [a, b*]}]", Sections{Filtered: true, namespaces: []string{"a", "b*"}}},
		"kinds of the cluster":    {"clusterScopedFilterPolicy: {resourceFilters: [{kinds: [nodes]}]}", Sections{Filtered: true}},
		"volumes":                 {"clusterScopedFilterPolicy: {resourceFilters: [{kinds: [PersistentVolume]}]}", Sections{Filtered: true, VolumesFiltered: true}},
		"contents of snapshots":   {"clusterScopedFilterPolicy: {resourceFilters: [{kinds: [volumesnapshotcontents.snapshot.storage.k8s.io]}]}", Sections{Filtered: true, VolumesFiltered: true}},
		"one that nobody has yet": {"tapePolicy: {}", Sections{Unknown: []string{"tapePolicy"}}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			policies, err := Parse(configMap("version: v1\n" + c.content))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, policies.Sections(), cmp.AllowUnexported(Sections{}), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("sections (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(Sections{}, Merge(policies).Sections(), cmp.AllowUnexported(Sections{})); diff != "" {
				t.Errorf("merged policies have sections:\n%s", diff)
			}
		})
	}
	var none *Policies
	if none.Sections().FilterNamespace("a") {
		t.Error("no policies filter a namespace")
	}
}

func TestFilterNamespace(t *testing.T) {
	s := Sections{namespaces: []string{"shop", "team-*"}}
	for namespace, want := range map[string]bool{"shop": true, "shops": false, "team-a": true, "default": false} {
		if got := s.FilterNamespace(namespace); got != want {
			t.Errorf("%s: %t, want %t", namespace, got, want)
		}
	}
}

func TestSectionsAreRefused(t *testing.T) {
	for name, c := range map[string]struct{ content, says string }{
		"all kinds":                 {"includeExcludePolicy: {includedNamespaceScopedResources: ['*']}", "includeExcludePolicy: no list may have *"},
		"a kind in both":            {"includeExcludePolicy: {includedClusterScopedResources: [a], excludedClusterScopedResources: [a]}", "a is both"},
		"a field of the old filter": {"includeExcludePolicy: {excludedResources: [secrets]}", "excludedResources"},
		"text":                      {"includeExcludePolicy: all", "includeExcludePolicy"},
		"one namespace":             {"namespacedFilterPolicies: [{namespaces: a}]", "namespacedFilterPolicies"},
		"a list for the cluster":    {"clusterScopedFilterPolicy: [a]", "clusterScopedFilterPolicy"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(configMap("version: v1\n" + c.content))
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want an error that says %q", err, c.says)
			}
		})
	}
}

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
		"nothing in the section": {"includeExcludePolicy:\nclusterScopedFilterPolicy:\n", Sections{}},
		"namespaces":             {"namespacedFilterPolicies: [{namespaces: [a, b*], resourceFilters: [{kinds: [pods]}, {}]}]", Sections{Filtered: true, namespaces: []string{"a", "b*"}}},
		"kinds of the cluster":   {"clusterScopedFilterPolicy: {resourceFilters: [{kinds: [nodes]}]}", Sections{Filtered: true}},
		"volumes":                {"clusterScopedFilterPolicy: {resourceFilters: [{kinds: [PersistentVolume]}]}", Sections{Filtered: true, VolumesFiltered: true}},
		"volumes before other kinds": {
			"clusterScopedFilterPolicy: {resourceFilters: [{kinds: [pv]}, {kinds: [nodes]}]}",
			Sections{Filtered: true, VolumesFiltered: true},
		},
		"contents of snapshots": {"clusterScopedFilterPolicy: {resourceFilters: [{kinds: [volumesnapshotcontents.snapshot.storage.k8s.io]}]}", Sections{Filtered: true, VolumesFiltered: true}},
		"selectors and names": {
			"namespacedFilterPolicies: [{namespaces: [a], resourceFilters: [{kinds: [pods], names: [b*], " +
				"labelSelector: {matchExpressions: [{key: x, operator: In, values: [y]}]}}]}]",
			Sections{Filtered: true, namespaces: []string{"a"}},
		},
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
			if _, err := helperFor(t, "version: v1\n"+c.content, sample{}); (err != nil) != (len(c.want.Unknown) > 0) {
				t.Errorf("Velero says %v", err)
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
		"no namespace":              {"namespacedFilterPolicies: [{resourceFilters: [{}]}]", "must name namespaces"},
		"no filter":                 {"namespacedFilterPolicies: [{namespaces: [a]}]", "resourceFilters: there must be one"},
		"a misspelled key":          {"namespacedFilterPolicies: [{namespaces: [a], resourceFilter: [{}]}]", "resourceFilter"},
		"a misspelled key of a filter": {
			"namespacedFilterPolicies: [{namespaces: [a], resourceFilters: [{kind: [pods]}]}]", "kind",
		},
		"a namespace twice": {
			"namespacedFilterPolicies: [{namespaces: [a], resourceFilters: [{}]}, {namespaces: [a], resourceFilters: [{}]}]",
			"[1]: namespace a is there twice",
		},
		"a kind twice": {
			"namespacedFilterPolicies: [{namespaces: [a], resourceFilters: [{kinds: [pods]}, {kinds: [pods]}]}]", "pods is there twice",
		},
		"two for the rest, with another between": {
			"namespacedFilterPolicies: [{namespaces: [a], resourceFilters: [{}, {kinds: [pods]}, {kinds: ['*']}]}]", "resourceFilters[2]",
		},
		"two for the rest": {"namespacedFilterPolicies: [{namespaces: [a], resourceFilters: [{}, {kinds: ['*']}]}]", "resourceFilters[1]"},
		"names for the rest": {
			"namespacedFilterPolicies: [{namespaces: [a], resourceFilters: [{names: [b]}]}]", "may have no names",
		},
		"two kinds of selectors, one by expressions": {
			"clusterScopedFilterPolicy: {resourceFilters: [{kinds: [pv], labelSelector: {matchExpressions: " +
				"[{key: a, operator: Exists}]}, orLabelSelectors: [{matchLabels: {c: d}}]}]}", "exclude each other",
		},
		"a selector with a label that is none": {
			"clusterScopedFilterPolicy: {resourceFilters: [{kinds: [pv], labelSelector: {matchLabels: {a: 'b c'}}}]}", "b c",
		},
		"one of several selectors that is none": {
			"clusterScopedFilterPolicy: {resourceFilters: [{kinds: [pv], orLabelSelectors: " +
				"[{matchExpressions: [{key: a, operator: Is}]}]}]}", "Is",
		},
		"two kinds of selectors": {
			"clusterScopedFilterPolicy: {resourceFilters: [{kinds: [pv], labelSelector: {matchLabels: {a: b}}, " +
				"orLabelSelectors: [{matchLabels: {c: d}}]}]}", "exclude each other",
		},
		"a selector that is none": {
			"clusterScopedFilterPolicy: {resourceFilters: [{kinds: [pv], labelSelector: {matchExpressions: [{key: a, operator: Is}]}}]}",
			"Is",
		},
		"no filter for the cluster": {"clusterScopedFilterPolicy: {}", "resourceFilters: there must be one"},
		"the rest of the cluster":   {"clusterScopedFilterPolicy: {resourceFilters: [{}]}", "must name kinds"},
		"a misspelled key, too":     {"clusterScopedFilterPolicy: {filters: []}", "filters"},
		"a list for the cluster":    {"clusterScopedFilterPolicy: [a]", "clusterScopedFilterPolicy"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(configMap("version: v1\n" + c.content))
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want an error that says %q", err, c.says)
			}
			if _, err := helperFor(t, "version: v1\n"+c.content, sample{}); err == nil {
				t.Error("Velero takes it")
			}
		})
	}
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package volumepolicy

import (
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
)

// namespacedFilter is an entry of the section namespacedFilterPolicies.
type namespacedFilter struct {
	Namespaces []string         `yaml:"namespaces"`
	Filters    []resourceFilter `yaml:"resourceFilters"`
}

// clusterScopedFilter is the section clusterScopedFilterPolicy.
type clusterScopedFilter struct {
	Filters []resourceFilter `yaml:"resourceFilters"`
}

// resourceFilter says of kinds of objects which of them a backup takes.
type resourceFilter struct {
	Kinds          []string        `yaml:"kinds"`
	LabelSelector  *labelSelector  `yaml:"labelSelector"`
	LabelSelectors []labelSelector `yaml:"orLabelSelectors"`
	Names          []string        `yaml:"names"`
	ExcludedNames  []string        `yaml:"excludedNames"`
}

// labelSelector is Kubernetes' with the names that it has in YAML.
type labelSelector struct {
	MatchLabels      map[string]string `yaml:"matchLabels"`
	MatchExpressions []struct {
		Key      string   `yaml:"key"`
		Operator string   `yaml:"operator"`
		Values   []string `yaml:"values"`
	} `yaml:"matchExpressions"`
}

func (s *labelSelector) present() bool {
	return s != nil && (len(s.MatchLabels) > 0 || len(s.MatchExpressions) > 0)
}

func (s *labelSelector) check() error {
	if s == nil {
		return nil
	}
	selector := &metav1.LabelSelector{MatchLabels: s.MatchLabels}
	for _, e := range s.MatchExpressions {
		selector.MatchExpressions = append(selector.MatchExpressions, metav1.LabelSelectorRequirement{
			Key: e.Key, Operator: metav1.LabelSelectorOperator(e.Operator), Values: e.Values,
		})
	}
	_, err := metav1.LabelSelectorAsSelector(selector)
	return err
}

// all says whether the filter is about every kind that no other one names.
func (f *resourceFilter) all() bool {
	return len(f.Kinds) == 0 || len(f.Kinds) == 1 && f.Kinds[0] == "*"
}

func (f *resourceFilter) check() error {
	if f.LabelSelector.present() && len(f.LabelSelectors) > 0 {
		return errors.New("labelSelector and orLabelSelectors exclude each other")
	}
	err := f.LabelSelector.check()
	for i := range f.LabelSelectors {
		err = errors.Join(err, f.LabelSelectors[i].check())
	}
	return err
}

// checkFilters refuses what Velero refuses (velero v1.18.3, resource_policies.go, validateNamespacedFilterPolicies and
// validateClusterScopedFilterPolicy), but for patterns of names: what these match does not matter here.
func checkFilters(filters []resourceFilter, catchAll bool) error {
	if len(filters) == 0 {
		return errors.New("resourceFilters: there must be one")
	}
	kinds, rest := sets.New[string](), false
	for i := range filters {
		filter := &filters[i]
		switch {
		case filter.all() && !catchAll:
			return fmt.Errorf("resourceFilters[%d]: it must name kinds", i)
		case filter.all() && rest:
			return fmt.Errorf("resourceFilters[%d]: another one is about all other kinds, too", i)
		case filter.all() && len(filter.Names)+len(filter.ExcludedNames) > 0:
			return fmt.Errorf("resourceFilters[%d]: one about all other kinds may have no names", i)
		}
		rest = rest || filter.all()
		for _, kind := range filter.Kinds {
			if kind != "*" && kinds.Has(kind) {
				return fmt.Errorf("resourceFilters[%d]: kind %s is there twice", i, kind)
			}
			kinds.Insert(kind)
		}
		if err := filter.check(); err != nil {
			return fmt.Errorf("resourceFilters[%d]: %w", i, err)
		}
	}
	return nil
}

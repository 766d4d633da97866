// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package volumerule reads the rules by which volumes are selected without an annotation on any pod, and says which of
// them a volume meets. It is pure.
package volumerule

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/labels"
)

// Action is what a rule does with the volumes that meet it.
type Action string

// The actions.
const (
	// Include selects the volume.
	Include Action = "include"
	// Exclude leaves it out, also where backups take all volumes by default.
	Exclude Action = "exclude"
	// Pass has the rules say nothing about the volume, so that a default decides as if there were none. Only what
	// velero-volume-controller calls an exclusion is this: it left such pods without its annotation, no more.
	Pass Action = "pass"
)

// Rules are the rules in their order; nil has none. They can be used by several goroutines.
type Rules struct{ rules []rule }

// rule is one of them. Conditions that are empty are met by every volume, the others must all be met.
type rule struct {
	name           string
	action         Action
	namespaces     globs
	podSelector    labels.Selector
	claimSelector  labels.Selector
	volumes        globs
	types          []volumeType
	storageClasses globs
	atLeast        *resource.Quantity
	atMost         *resource.Quantity
	owners         []owner
}

// Volume is what rules look at. Who hands over objects that were stripped must have kept what follows each field.
type Volume struct {
	// Pod has the volume in its spec: namespace, labels, kinds and names of owners.
	Pod *corev1.Pod
	// Volume is the entry there: name and source.
	Volume *corev1.Volume
	// Claim is the claim behind it: labels, storage class, requests. PV is what that is bound to: source, capacity,
	// storage class. Both are nil without.
	Claim *corev1.PersistentVolumeClaim
	PV    *corev1.PersistentVolume
}

// Match returns the name and the action of the first rule that the volume meets; found is false if it meets none.
func (r *Rules) Match(v Volume) (name string, action Action, found bool) {
	if r == nil {
		return "", "", false
	}
	for i := range r.rules {
		rule := &r.rules[i]
		switch {
		case !rule.meets(v), rule.action == Include && !rule.means(v):
		case !rule.means(v):
			// What would leave it out keeps it from the rules behind, and is no word against whoever else asks for it.
			return rule.name, Pass, true
		default:
			return rule.name, rule.action, true
		}
	}
	return "", "", false
}

func (r *rule) meets(v Volume) bool {
	return (len(r.namespaces) == 0 || r.namespaces.match(v.Pod.Namespace)) &&
		(r.podSelector == nil || r.podSelector.Matches(labels.Set(v.Pod.Labels))) &&
		(r.claimSelector == nil || v.Claim != nil && r.claimSelector.Matches(labels.Set(v.Claim.Labels))) &&
		(len(r.volumes) == 0 || r.volumes.match(v.Volume.Name)) &&
		r.meetsType(v) &&
		(len(r.storageClasses) == 0 || v.Claim != nil && r.storageClasses.match(storageClass(v))) &&
		r.meetsSize(v) &&
		(len(r.owners) == 0 || r.meetsOwner(v.Pod))
}

func (r *rule) meetsType(v Volume) bool {
	return len(r.types) == 0 || slices.ContainsFunc(r.types, func(t volumeType) bool { return t.has(v) })
}

// means says whether the rule is about a volume that meets it. A rule without types is not about inline CSI volumes
// that it does not name. As with volumes of Secrets, the content of most comes from elsewhere, such as certificates,
// and keys that a vault holds: who has all volumes backed up does not mean these.
func (r *rule) means(v Volume) bool {
	return v.Volume.CSI == nil || r.action == Pass || len(r.types) > 0 || r.volumes.matchByName(v.Volume.Name)
}

// meetsSize compares the capacity of the volume, or what its claim asks for as long as it has none. What is no claim
// has no size, and meets no rule about sizes.
func (r *rule) meetsSize(v Volume) bool {
	if r.atLeast == nil && r.atMost == nil {
		return true
	}
	size, known := sizeOf(v)
	return known && (r.atLeast == nil || size.Cmp(*r.atLeast) >= 0) && (r.atMost == nil || size.Cmp(*r.atMost) <= 0)
}

func sizeOf(v Volume) (resource.Quantity, bool) {
	if v.PV != nil {
		if size, known := v.PV.Spec.Capacity[corev1.ResourceStorage]; known {
			return size, true
		}
	}
	if v.Claim != nil {
		size, known := v.Claim.Spec.Resources.Requests[corev1.ResourceStorage]
		return size, known
	}
	return resource.Quantity{}, false
}

func storageClass(v Volume) string {
	if v.Claim.Spec.StorageClassName != nil {
		return *v.Claim.Spec.StorageClassName
	}
	if v.PV != nil {
		return v.PV.Spec.StorageClassName
	}
	return ""
}

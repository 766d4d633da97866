// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package volumepolicy reads the volume policies of a Velero backup and says which one holds for a volume, as
// Velero's own core does (velero v1.18.3, internal/resourcepolicies, which cannot be imported). It makes no calls.
package volumepolicy

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// ActionType is what a policy does with a volume.
type ActionType string

// The actions that Velero knows (velero v1.18.3, internal/resourcepolicies/resource_policies.go).
const (
	// ActionSkip leaves the volume's data out of the backup.
	ActionSkip ActionType = "skip"
	// ActionSnapshot has Velero snapshot the volume.
	ActionSnapshot ActionType = "snapshot"
	// ActionFSBackup has Velero's own node-agent back the volume's files up.
	ActionFSBackup ActionType = "fs-backup"
	// ActionCustom has Velero leave the volume to a plugin: neither a snapshot nor a file-system backup.
	ActionCustom ActionType = "custom"
)

const (
	// ParameterUploader is the key of the parameter of a custom action that names the plugin that is meant.
	ParameterUploader = "uploader"
	// UploaderRestic is the value of ParameterUploader that means this project.
	UploaderRestic = "restic"
)

// Action is what a policy does with a volume, with the parameters that it gives to a plugin.
type Action struct {
	Type ActionType
	// Parameters belong to the policy and must not be changed.
	Parameters map[string]any
}

// Uploader returns the parameter that names the plugin for which a custom action is meant, and whether there is one.
// A custom action without it only makes Velero's core stand aside. Other actions name nobody.
func (a Action) Uploader() (any, bool) {
	if a.Type != ActionCustom {
		return nil, false
	}
	value, found := a.Parameters[ParameterUploader]
	return value, found
}

// ForRestic says whether the action is a custom one that names this project.
func (a Action) ForRestic() bool {
	uploader, _ := a.Uploader()
	return uploader == UploaderRestic
}

// Policies are the volume policies of one ConfigMap, in its order. A nil one has none.
type Policies struct {
	policies []policy
	sections Sections
}

type policy struct {
	conditions conditions
	action     Action
}

// Volume is a volume as a policy sees it. Where the PersistentVolume is known, and only then, it stands for the
// volume instead of the pod's entry; the claim adds to either (velero v1.18.3, resource_policies.go,
// GetMatchAction). Velero looks the PersistentVolume up for a bound claim only, and knows no claim of a generic
// ephemeral volume.
type Volume struct {
	PodVolume *corev1.Volume
	PVC       *corev1.PersistentVolumeClaim
	PV        *corev1.PersistentVolume
}

// Type returns the name that the condition volumeTypes has for the volume, empty where it has none, as for a claim
// that is not bound.
func (v Volume) Type() string { return traitsOf(v).volumeType }

// Match returns the action of the first policy whose conditions all hold for the volume, and whether there is one.
// No policy matches a Volume without any part.
func (p *Policies) Match(v Volume) (Action, bool) {
	if p == nil || v == (Volume{}) {
		return Action{}, false
	}
	traits := traitsOf(v)
	for _, candidate := range p.policies {
		if candidate.conditions.match(traits) {
			return candidate.action, true
		}
	}
	return Action{}, false
}

// AskForRestic says whether any policy asks this project for volumes: see Action.ForRestic.
func (p *Policies) AskForRestic() bool {
	return p != nil && slices.ContainsFunc(p.policies, func(p policy) bool { return p.action.ForRestic() })
}

// Merge returns the policies of all of them, the first one's first. This is how Velero adds the cluster-wide ones
// to those that a Backup names, which therefore win. The Backup tells of the former in the annotation
// velero.io/global-backup-volume-policy-configmap, which names a ConfigMap in its namespace
// (velero v1.18.3, resource_policies.go, GetResourcePoliciesFromBackupWithGlobal). It returns nil when all are nil.
func Merge(all ...*Policies) *Policies {
	var merged *Policies
	for _, p := range all {
		if p == nil {
			continue
		}
		if merged == nil {
			merged = &Policies{}
		}
		merged.policies = append(merged.policies, p.policies...)
	}
	return merged
}

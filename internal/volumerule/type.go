// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package volumerule

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// TypeClaim is the type of every volume with a claim that the pod's spec names.
const TypeClaim = "persistentVolumeClaim"

// volumeType is a type of volumes, by the name of its source in Kubernetes' API (k8s.io/api v0.36.3, core/v1/types.go).
type volumeType struct {
	name string
	// inPod and behind say whether a pod's volume has it, and whether the PersistentVolume behind a claim has it; nil
	// where the API has no such source.
	inPod  func(*corev1.VolumeSource) bool
	behind func(*corev1.PersistentVolumeSource) bool
}

// volumeTypes are those that can be backed up. A volume has the type of its source in the pod and, with a claim, that
// of what is behind it, too.
func volumeTypes() []volumeType {
	type pod = corev1.VolumeSource
	type pv = corev1.PersistentVolumeSource
	return []volumeType{
		{TypeClaim, func(s *pod) bool { return s.PersistentVolumeClaim != nil }, nil},
		{"emptyDir", func(s *pod) bool { return s.EmptyDir != nil }, nil},
		{"ephemeral", func(s *pod) bool { return s.Ephemeral != nil }, nil},
		{"nfs", func(s *pod) bool { return s.NFS != nil }, func(s *pv) bool { return s.NFS != nil }},
		{"csi", func(s *pod) bool { return s.CSI != nil }, func(s *pv) bool { return s.CSI != nil }},
		{"local", nil, func(s *pv) bool { return s.Local != nil }},
		{"iscsi", func(s *pod) bool { return s.ISCSI != nil }, func(s *pv) bool { return s.ISCSI != nil }},
		{"fc", func(s *pod) bool { return s.FC != nil }, func(s *pv) bool { return s.FC != nil }},
		{"cephfs", func(s *pod) bool { return s.CephFS != nil }, func(s *pv) bool { return s.CephFS != nil }},
		{"rbd", func(s *pod) bool { return s.RBD != nil }, func(s *pv) bool { return s.RBD != nil }},
		{"glusterfs", func(s *pod) bool { return s.Glusterfs != nil }, func(s *pv) bool { return s.Glusterfs != nil }},
		{"cinder", func(s *pod) bool { return s.Cinder != nil }, func(s *pv) bool { return s.Cinder != nil }},
		{"azureFile", func(s *pod) bool { return s.AzureFile != nil }, func(s *pv) bool { return s.AzureFile != nil }},
		{"azureDisk", func(s *pod) bool { return s.AzureDisk != nil }, func(s *pv) bool { return s.AzureDisk != nil }},
		{
			"awsElasticBlockStore", func(s *pod) bool { return s.AWSElasticBlockStore != nil },
			func(s *pv) bool { return s.AWSElasticBlockStore != nil },
		},
		{
			"gcePersistentDisk", func(s *pod) bool { return s.GCEPersistentDisk != nil },
			func(s *pv) bool { return s.GCEPersistentDisk != nil },
		},
		{
			"vsphereVolume", func(s *pod) bool { return s.VsphereVolume != nil },
			func(s *pv) bool { return s.VsphereVolume != nil },
		},
		{
			"portworxVolume", func(s *pod) bool { return s.PortworxVolume != nil },
			func(s *pv) bool { return s.PortworxVolume != nil },
		},
		{
			"flexVolume", func(s *pod) bool { return s.FlexVolume != nil },
			func(s *pv) bool { return s.FlexVolume != nil },
		},
	}
}

// ignoredTypes are those of volumes that Velero passes over and that no rule can change, and those that Kubernetes has
// only had: the configuration of velero-volume-controller may list them, a rule of ours may not.
func ignoredTypes() []string {
	return []string{
		"hostPath", "secret", "configMap", "projected", "downwardAPI", "gitRepo", "image",
		"quobyte", "storageos", "scaleIO", "flocker", "photonPersistentDisk",
	}
}

// parseTypes returns the types of these names. With ignored, names of ignoredTypes are left out and not refused.
func parseTypes(key string, names []string, ignored bool) ([]volumeType, error) {
	if names != nil && len(names) == 0 {
		return nil, fmt.Errorf("%s: the list is empty: add an entry, or leave the key out, which means all", key)
	}
	known := volumeTypes()
	var types []volumeType
	for _, name := range names {
		i := slices.IndexFunc(known, func(t volumeType) bool { return t.name == name })
		switch {
		case i >= 0:
			types = append(types, known[i])
		case !ignored || !slices.Contains(ignoredTypes(), name):
			var all []string
			for _, t := range known {
				all = append(all, t.name)
			}
			return nil, fmt.Errorf("%s: there is no type %q that can be backed up: write one of %s", key, name,
				strings.Join(all, ", "))
		}
	}
	return types, nil
}

func (t *volumeType) has(v Volume) bool {
	return t.inPod != nil && t.inPod(&v.Volume.VolumeSource) ||
		t.behind != nil && v.PV != nil && t.behind(&v.PV.Spec.PersistentVolumeSource)
}

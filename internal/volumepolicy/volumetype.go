// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package volumepolicy

import corev1 "k8s.io/api/core/v1"

// typed pairs the name of a volume type with whether a volume has it.
type typed struct {
	present bool
	name    string
}

func firstPresent(types []typed) string {
	for _, t := range types {
		if t.present {
			return t.name
		}
	}
	return ""
}

// typeOfPersistentVolume returns the name that the condition volumeTypes has for the volume's source, empty for one
// that it has no name for (velero v1.18.3, internal/resourcepolicies/volume_types_conditions.go).
func typeOfPersistentVolume(s *corev1.PersistentVolumeSource) string {
	return firstPresent([]typed{
		{s.AWSElasticBlockStore != nil, "awsElasticBlockStore"},
		{s.AzureDisk != nil, "azureDisk"},
		{s.AzureFile != nil, "azureFile"},
		{s.CephFS != nil, "cephfs"},
		{s.Cinder != nil, "cinder"},
		{s.CSI != nil, "csi"},
		{s.FC != nil, "fc"},
		{s.Flocker != nil, "flocker"},
		{s.FlexVolume != nil, "flexVolume"},
		{s.GCEPersistentDisk != nil, "gcePersistentDisk"},
		{s.Glusterfs != nil, "glusterfs"},
		{s.HostPath != nil, "hostPath"},
		{s.ISCSI != nil, "iscsi"},
		{s.Local != nil, "local"},
		{s.NFS != nil, "nfs"},
		{s.PhotonPersistentDisk != nil, "photonPersistentDisk"},
		{s.PortworxVolume != nil, "portworxVolume"},
		{s.Quobyte != nil, "quobyte"},
		{s.RBD != nil, "rbd"},
		{s.ScaleIO != nil, "scaleIO"},
		{s.StorageOS != nil, "storageOS"},
		{s.VsphereVolume != nil, "vsphereVolume"},
	})
}

// typeOfPodVolume is typeOfPersistentVolume for a volume in a pod's spec. A claim has no type of its own.
func typeOfPodVolume(s *corev1.VolumeSource) string {
	return firstPresent([]typed{
		{s.AWSElasticBlockStore != nil, "awsElasticBlockStore"},
		{s.AzureDisk != nil, "azureDisk"},
		{s.AzureFile != nil, "azureFile"},
		{s.CephFS != nil, "cephfs"},
		{s.Cinder != nil, "cinder"},
		{s.CSI != nil, "csi"},
		{s.FC != nil, "fc"},
		{s.Flocker != nil, "flocker"},
		{s.FlexVolume != nil, "flexVolume"},
		{s.GCEPersistentDisk != nil, "gcePersistentDisk"},
		{s.GitRepo != nil, "gitRepo"},
		{s.Glusterfs != nil, "glusterfs"},
		{s.ISCSI != nil, "iscsi"},
		{s.NFS != nil, "nfs"},
		{s.Secret != nil, "secret"},
		{s.RBD != nil, "rbd"},
		{s.DownwardAPI != nil, "downwardAPI"},
		{s.ConfigMap != nil, "configMap"},
		{s.Projected != nil, "projected"},
		{s.Ephemeral != nil, "ephemeral"},
		{s.PhotonPersistentDisk != nil, "photonPersistentDisk"},
		{s.PortworxVolume != nil, "portworxVolume"},
		{s.Quobyte != nil, "quobyte"},
		{s.ScaleIO != nil, "scaleIO"},
		{s.StorageOS != nil, "storageOS"},
		{s.VsphereVolume != nil, "vsphereVolume"},
		{s.HostPath != nil, "hostPath"},
		{s.EmptyDir != nil, "emptyDir"},
	})
}

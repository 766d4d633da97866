// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupName is the API group. It is not velero.io, because Velero's server and node-agent act on every object of their
// group and would treat these objects as Kopia's.
const GroupName = "restic.velero.io"

// Resource names, as used in URLs and in Velero's ResourceIdentifiers.
const (
	ResourcePodVolumeBackups   = "podvolumebackups"
	ResourcePodVolumeRestores  = "podvolumerestores"
	ResourceResticRepositories = "resticrepositories"
)

// GroupVersion returns restic.velero.io/v1.
func GroupVersion() schema.GroupVersion {
	return schema.GroupVersion{Group: GroupName, Version: "v1"}
}

// AddToScheme registers the kinds of this package. It always returns nil; the error in its signature makes it fit
// runtime.NewSchemeBuilder.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion(),
		&PodVolumeBackup{}, &PodVolumeBackupList{},
		&PodVolumeRestore{}, &PodVolumeRestoreList{},
		&ResticRepository{}, &ResticRepositoryList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion())
	return nil
}

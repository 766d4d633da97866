// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package watch

import (
	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/cli/watch/board"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// kind has the differences between backups and restores.
type kind struct {
	// name is "backup" or "restore".
	name string
	// nameLabel and uidLabel are labels of the volumes' objects.
	nameLabel, uidLabel string
	// object returns an empty Velero object, operations a list of them, and volumes a list of the volumes' objects.
	object     func() client.Object
	operations func() client.ObjectList
	volumes    func() client.ObjectList
	// operation and volume convert objects.
	operation func(client.Object) board.Operation
	volume    func(client.Object) board.Volume
}

func backups() kind {
	return kind{
		name: "backup", nameLabel: contract.LabelBackupName, uidLabel: contract.LabelBackupUID,
		object:     func() client.Object { return &velerov1.Backup{} },
		operations: func() client.ObjectList { return &velerov1.BackupList{} },
		volumes:    func() client.ObjectList { return &resticv1.PodVolumeBackupList{} },
		operation: func(object client.Object) board.Operation {
			backup, _ := object.(*velerov1.Backup)
			return board.OfVeleroBackup(backup)
		},
		volume: func(object client.Object) board.Volume {
			backup, _ := object.(*resticv1.PodVolumeBackup)
			return board.OfBackup(backup)
		},
	}
}

func restores() kind {
	return kind{
		name: "restore", nameLabel: contract.LabelRestoreName, uidLabel: contract.LabelRestoreUID,
		object:     func() client.Object { return &velerov1.Restore{} },
		operations: func() client.ObjectList { return &velerov1.RestoreList{} },
		volumes:    func() client.ObjectList { return &resticv1.PodVolumeRestoreList{} },
		operation: func(object client.Object) board.Operation {
			restore, _ := object.(*velerov1.Restore)
			return board.OfVeleroRestore(restore)
		},
		volume: func(object client.Object) board.Volume {
			restore, _ := object.(*resticv1.PodVolumeRestore)
			return board.OfRestore(restore)
		},
	}
}

// ownVolumes returns the volumes' objects of this operation. An earlier operation of the same name may have left
// objects with another UID, and deleted backups have objects that wait to be forgotten. An operation that Velero synced
// from the bucket has another UID than its objects: if no object has the right UID, all belong to it.
func (k kind) ownVolumes(operation client.Object, objects []client.Object) []client.Object {
	var same, all []client.Object
	uid := contract.LabelValue(string(operation.GetUID()))
	for _, object := range objects {
		if backup, ours := object.(*resticv1.PodVolumeBackup); ours && backup.Spec.Forget {
			continue
		}
		all = append(all, object)
		if object.GetLabels()[k.uidLabel] == uid {
			same = append(same, object)
		}
	}
	if len(same) == 0 && k.operation(operation).Final {
		return all
	}
	return same
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package coverage

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
)

// StorageLocation is a BackupStorageLocation.
type StorageLocation struct {
	Name string
	// Default is true if Velero uses it for backups that name no location.
	Default bool
	// ReadOnly is true if it accepts no backups.
	ReadOnly bool
	// Phase is the result of Velero's last validation.
	Phase velerov1.BackupStorageLocationPhase
}

// SnapshotLocation is a VolumeSnapshotLocation.
type SnapshotLocation struct{ Name, Provider string }

// checkStorage returns a refusal if Velero rejects a backup in this storage location, or in the default one without a
// name (velero v1.18.3, pkg/controller/backup_controller.go, prepareBackupRequest).
func (s *Server) checkStorage(named string) *refusal {
	const list = "see `velero backup-location get`"
	name := named
	if name == "" {
		name = s.DefaultStorage
		isDefault := func(l StorageLocation) bool { return l.Default }
		if i := slices.IndexFunc(s.StorageLocations, isDefault); i >= 0 {
			name = s.StorageLocations[i].Name
		}
	}
	i := slices.IndexFunc(s.StorageLocations, func(l StorageLocation) bool { return l.Name == name })
	switch {
	case i < 0 && named == "":
		return refuse(ReasonNoSchedule, "it names no BackupStorageLocation, no location is the default, and the "+
			"location "+
			"%q, which Velero's server uses then, does not exist: create it, or set a default with `velero "+
			"backup-location set NAME --default`", name)
	case i < 0:
		return refuse(ReasonNoSchedule, "there is no BackupStorageLocation %s: create it, or name an existing one in "+
			"spec.template.storageLocation: %s", name, list)
	case s.StorageLocations[i].ReadOnly:
		return refuse(ReasonNoSchedule, "BackupStorageLocation %s is read-only: set its spec.accessMode to ReadWrite, "+
			"or name another one in spec.template.storageLocation", name)
	case s.StorageLocations[i].Phase != velerov1.BackupStorageLocationPhaseAvailable:
		return refuse(ReasonLocationUnavailable, "BackupStorageLocation %s is not available (phase %s): see its "+
			"status.message with `velero backup-location get %s -o yaml`",
			name, cmp.Or(s.StorageLocations[i].Phase, "Unknown"), name)
	}
	return nil
}

// snapshotProviders returns the providers whose plugins may take snapshots for a backup with these locations, or a
// refusal if Velero rejects the backup (the same file, validateAndGetSnapshotLocations).
func (s *Server) snapshotProviders(named []string) ([]string, *refusal) {
	used := map[string]string{} // names of locations, by provider
	for _, name := range named {
		location := s.snapshotLocation(name)
		if location == nil {
			return nil, refuse(ReasonNoSchedule, "there is no VolumeSnapshotLocation %s: create it, or remove it from "+
				"spec.template.volumeSnapshotLocations", name)
		}
		if other := used[location.Provider]; other != "" && other != name {
			return nil, refuse(ReasonNoSchedule, "it names two VolumeSnapshotLocations of provider %s, %s and %s, and "+
				"only one is allowed: remove one of them from spec.template.volumeSnapshotLocations",
				location.Provider, other, name)
		}
		used[location.Provider] = name
	}
	all := map[string][]string{}
	for _, location := range s.SnapshotLocations {
		all[location.Provider] = append(all[location.Provider], location.Name)
	}
	for provider, names := range all {
		if used[provider] == "" && len(names) == 1 {
			used[provider] = names[0]
		}
	}
	for _, provider := range slices.Sorted(maps.Keys(all)) {
		if used[provider] != "" {
			continue
		}
		location := s.snapshotLocation(s.DefaultLocations[provider])
		switch {
		case s.DefaultLocations[provider] == "":
			return nil, refuse(ReasonNoSchedule, "provider %s has several VolumeSnapshotLocations, and neither the "+
				"backup nor --default-volume-snapshot-locations of Velero's server names one", provider)
		case location == nil:
			return nil, refuse(ReasonNoSchedule, "there is no VolumeSnapshotLocation %s, which "+
				"--default-volume-snapshot-locations of Velero's server names for provider %s",
				s.DefaultLocations[provider], provider)
		}
		used[location.Provider] = location.Name
	}
	return slices.Sorted(maps.Keys(used)), nil
}

func (s *Server) snapshotLocation(name string) *SnapshotLocation {
	for i := range s.SnapshotLocations {
		if s.SnapshotLocations[i].Name == name {
			return &s.SnapshotLocations[i]
		}
	}
	return nil
}

// refusal is why Velero rejects a backup.
type refusal struct {
	// reason is the reason of the claims that the backup includes.
	reason Reason
	// text explains it to people.
	text string
}

func refuse(reason Reason, format string, args ...any) *refusal {
	return &refusal{reason, fmt.Sprintf(format, args...)}
}

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
	// Default says that backups which name no location go there.
	Default bool
	// ReadOnly says that it takes no backups.
	ReadOnly bool
	// Phase is how Velero found it when it last looked.
	Phase velerov1.BackupStorageLocationPhase
}

// SnapshotLocation is a VolumeSnapshotLocation.
type SnapshotLocation struct{ Name, Provider string }

// checkStorage says why Velero refuses a backup that names this storage location, or none (velero v1.18.3,
// pkg/controller/backup_controller.go, prepareBackupRequest).
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
		return refuse(ReasonNoSchedule, "it names no BackupStorageLocation, none is the default, and there is none of "+
			"the name %q that Velero's server falls back on: create one, or set one with `velero backup-location set "+
			"NAME --default`", name)
	case i < 0:
		return refuse(ReasonNoSchedule, "there is no BackupStorageLocation %s: create it, or name one that there is "+
			"in spec.template.storageLocation: %s", name, list)
	case s.StorageLocations[i].ReadOnly:
		return refuse(ReasonNoSchedule, "BackupStorageLocation %s is read-only: set its spec.accessMode to ReadWrite, "+
			"or name another one in spec.template.storageLocation", name)
	case s.StorageLocations[i].Phase != velerov1.BackupStorageLocationPhaseAvailable:
		return refuse(ReasonLocationUnavailable, "BackupStorageLocation %s is not available (phase %s): its "+
			"status.message says why: `velero backup-location get %s -o yaml`",
			name, cmp.Or(s.StorageLocations[i].Phase, "Unknown"), name)
	}
	return nil
}

// snapshotProviders returns the providers whose plugins may snapshot volumes for a backup that names these locations,
// or why Velero refuses it (the same file, validateAndGetSnapshotLocations).
func (s *Server) snapshotProviders(named []string) ([]string, *refusal) {
	used := map[string]string{} // names of locations, by provider
	for _, name := range named {
		location := s.snapshotLocation(name)
		if location == nil {
			return nil, refuse(ReasonNoSchedule, "there is no VolumeSnapshotLocation %s: create it, or take it out of "+
				"spec.template.volumeSnapshotLocations", name)
		}
		if other := used[location.Provider]; other != "" && other != name {
			return nil, refuse(ReasonNoSchedule, "it names two VolumeSnapshotLocations of provider %s, %s and %s, and "+
				"may name one: take one of them out of spec.template.volumeSnapshotLocations",
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
				"backup names one nor does --default-volume-snapshot-locations of Velero's server", provider)
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

// refusal is why Velero refuses a backup as things are.
type refusal struct {
	// reason is what it means for the claims that the backup would have.
	reason Reason
	// text says it for people.
	text string
}

func refuse(reason Reason, format string, args ...any) *refusal {
	return &refusal{reason, fmt.Sprintf(format, args...)}
}

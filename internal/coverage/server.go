// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package coverage

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
)

// Server has what backups depend on besides their spec: the flags of Velero's server, the admission policy for backups,
// and what can take snapshots.
type Server struct {
	// DefaultVolumes is --default-volumes-to-fs-backup, the default of spec.defaultVolumesToFsBackup.
	DefaultVolumes bool
	// MoveData is --default-snapshot-move-data, the default of spec.snapshotMoveData.
	MoveData bool
	// CSI is true if --features includes EnableCSI.
	CSI bool
	// GlobalPolicies is --global-backup-volume-policies-configmap: volume policies that apply after a backup's own.
	GlobalPolicies string
	// AdmittedPolicies is the ConfigMap of volume policies that admission adds to a backup without policies.
	AdmittedPolicies string
	// DefaultStorage is --default-backup-storage-location: the location of backups that name none, if no location is
	// the default.
	DefaultStorage string
	// StorageLocations are the BackupStorageLocations in Velero's namespace, sorted by name.
	StorageLocations []StorageLocation
	// DefaultLocations is --default-volume-snapshot-locations: names of locations by provider.
	DefaultLocations map[string]string
	// Provisioners are the provisioners of the StorageClasses, by the class's name.
	Provisioners map[string]string
	// SnapshotClasses are the VolumeSnapshotClasses.
	SnapshotClasses []SnapshotClass
	// SnapshotLocations are the VolumeSnapshotLocations in Velero's namespace.
	SnapshotLocations []SnapshotLocation
	// NodeAgent is true if Velero's node-agent runs on any node. Without it, Velero cannot move snapshot data.
	NodeAgent bool
}

// SnapshotClass is a VolumeSnapshotClass.
type SnapshotClass struct {
	Name, Driver string
	// Preferred is true if it has the label velero.io/csi-volumesnapshot-class or the annotation
	// snapshot.storage.kubernetes.io/is-default-class.
	Preferred bool
}

// ReadArguments sets the fields from the arguments of `velero server`, with or without the word server
// (velero v1.18.3, pkg/cmd/server/config/config.go, BindFlags; pkg/features). It ignores other flags.
func (s *Server) ReadArguments(arguments []string) error {
	flags := pflag.NewFlagSet("server", pflag.ContinueOnError)
	flags.ParseErrorsAllowlist.UnknownFlags = true
	flags.SetOutput(io.Discard)
	flags.Usage = func() {}
	var locations string
	var features []string
	flags.BoolVar(&s.DefaultVolumes, "default-volumes-to-fs-backup", false, "")
	flags.BoolVar(&s.MoveData, "default-snapshot-move-data", false, "")
	flags.StringVar(&s.GlobalPolicies, "global-backup-volume-policies-configmap", "", "")
	flags.StringSliceVar(&features, "features", nil, "")
	flags.StringVar(&s.DefaultStorage, "default-backup-storage-location", "default", "")
	flags.StringVar(&locations, "default-volume-snapshot-locations", "", "")
	if err := flags.Parse(arguments); err != nil {
		return fmt.Errorf("reading the arguments of Velero's server: %w", err)
	}
	s.CSI = slices.Contains(features, velerov1.CSIFeatureFlag)
	s.DefaultLocations = map[string]string{}
	for entry := range strings.SplitSeq(locations, ",") {
		if provider, name, found := strings.Cut(entry, ":"); found {
			s.DefaultLocations[provider] = name
		}
	}
	return nil
}

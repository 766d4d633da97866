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

// Server is what a backup depends on beside its spec: the flags of Velero's server, the admission policy for backups,
// and what can make snapshots.
type Server struct {
	// DefaultVolumes is --default-volumes-to-fs-backup, for backups that do not say.
	DefaultVolumes bool
	// MoveData is --default-snapshot-move-data, for backups that do not say.
	MoveData bool
	// CSI says that --features has EnableCSI.
	CSI bool
	// GlobalPolicies is --global-backup-volume-policies-configmap: volume policies after a backup's own ones.
	GlobalPolicies string
	// AdmittedPolicies is the ConfigMap of volume policies that a backup without any is given when it is created.
	AdmittedPolicies string
	// DefaultStorage is --default-backup-storage-location: where backups go that name no location, if none is the
	// default.
	DefaultStorage string
	// StorageLocations are the BackupStorageLocations in Velero's namespace, sorted by name.
	StorageLocations []StorageLocation
	// DefaultLocations is --default-volume-snapshot-locations: names of locations by provider.
	DefaultLocations map[string]string
	// Provisioners are those of the StorageClasses of the cluster, by the name of the class.
	Provisioners map[string]string
	// SnapshotClasses are the VolumeSnapshotClasses of the cluster.
	SnapshotClasses []SnapshotClass
	// SnapshotLocations are the VolumeSnapshotLocations in Velero's namespace.
	SnapshotLocations []SnapshotLocation
	// NodeAgent says that Velero's node-agent runs anywhere: without it no snapshot is moved.
	NodeAgent bool
}

// SnapshotClass is a VolumeSnapshotClass.
type SnapshotClass struct {
	Name, Driver string
	// Preferred says that it has the label velero.io/csi-volumesnapshot-class or the annotation
	// snapshot.storage.kubernetes.io/is-default-class.
	Preferred bool
}

// ReadArguments sets what the arguments of Velero's server say, `velero server` without its first word or with it
// (velero v1.18.3, pkg/cmd/server/config/config.go, BindFlags; pkg/features). Other flags do not matter.
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
	for _, entry := range strings.Split(locations, ",") {
		if provider, name, found := strings.Cut(entry, ":"); found {
			s.DefaultLocations[provider] = name
		}
	}
	return nil
}

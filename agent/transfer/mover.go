// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package transfer

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/velero-restic/velero-plugin-for-restic/agent/hostpath"
	"github.com/velero-restic/velero-plugin-for-restic/agent/session"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
)

// Mover moves the content of volumes of this node.
type Mover struct {
	// Opener opens repositories.
	Opener *session.Opener
	// Finder finds volumes on this node.
	Finder hostpath.Finder
	// ReadConcurrency is how many files of one volume restic reads at a time; 0 leaves it to restic.
	ReadConcurrency int
	// Host is this process's host name, which is that of its pod and in every lock that it takes.
	Host string
	// SharedHost says that processes outside of this container may have the same host name, as in the network of the
	// node.
	SharedHost bool
	// Cluster is the ID of this cluster: see contract.TagCluster. It goes on every snapshot.
	Cluster string
}

// Repository names a repository.
type Repository struct {
	// Location is the name of the backup storage location.
	Location string
	// Namespace is the one whose volumes the repository holds.
	Namespace string
}

// origin returns the tags by which this cluster's Velero knows its own snapshots among those of others.
func (m *Mover) origin() map[string]string {
	if m.Cluster == "" {
		return nil
	}
	return map[string]string{contract.TagCluster: m.Cluster, contract.TagVeleroNamespace: m.Opener.Namespace}
}

// leftOut are the folders at the root of a volume that belong to the file system and to this project, not to the
// user.
func leftOut(root string) []string {
	return []string{filepath.Join(root, "lost+found"), filepath.Join(root, contract.MarkerDir)}
}

func bytesOf(report func(Progress)) func(restic.Progress) {
	return func(p restic.Progress) { report(Progress{BytesDone: p.BytesDone, TotalBytes: p.TotalBytes}) }
}

// withSession opens a repository for the time of do.
func (m *Mover) withSession(ctx context.Context, repository Repository, do func(*session.Session) error) (err error) {
	opened, err := m.Opener.Open(ctx, repository.Location, repository.Namespace)
	if err != nil {
		return err
	}
	defer func() {
		if closing := opened.Close(); err == nil {
			err = closing
		}
	}()
	err = do(opened)
	if errors.Is(err, restic.ErrKilled) {
		// The lock of the dead would keep others out for half an hour.
		if _, unlocking := m.removeStale(ctx, opened); unlocking != nil {
			return errors.Join(err, unlocking)
		}
	}
	return err
}

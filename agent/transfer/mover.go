// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package transfer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/utils/clock"

	"github.com/velero-restic/velero-plugin-for-restic/agent/hostpath"
	"github.com/velero-restic/velero-plugin-for-restic/agent/session"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/repository"
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
	// OpenTimeout is how long opening a repository may take; 0 means 40 seconds. restic itself tries for 15 minutes,
	// whatever the reason, and nobody would learn of it for as long.
	OpenTimeout time.Duration
	// Flush has the kernel write a volume's directory to its storage; nil means hostpath.Flush.
	Flush func(dir string) error
	// Clock decides which locks are stale.
	Clock clock.PassiveClock
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

// explain says what to do where the node's security module keeps the agent from files: in the error if there is one,
// else before the warnings. The module may let the agent see the volume, and none of what is in it.
func (m *Mover) explain(warnings *restic.Warnings, err error) error {
	texts := slices.Clone(warnings.First)
	if err != nil {
		texts = append(texts, err.Error())
	}
	denied := func(text string) bool { return strings.Contains(text, "permission denied") }
	remedy := m.Finder.Confinement()
	if remedy == "" || !slices.ContainsFunc(texts, denied) || err != nil && strings.Contains(err.Error(), remedy) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%w: %s", err, remedy)
	}
	warnings.AddFirst(remedy)
	return nil
}

// leftOut are the folders at the root of a volume that belong to the file system and to this project, not to the
// user.
func leftOut(root string) []string {
	return []string{filepath.Join(root, "lost+found"), filepath.Join(root, contract.MarkerDir)}
}

func bytesOf(report func(Progress)) func(restic.Progress) {
	return func(p restic.Progress) { report(Progress{BytesDone: p.BytesDone, TotalBytes: p.TotalBytes}) }
}

// openTimeout is the default of Mover.OpenTimeout. It is less than the time that an operation waits for its repository,
// so that the operation can say what is wrong with it.
const openTimeout = 40 * time.Second

// open opens the repository, which proves that it is there, that it can be reached, and that the password fits.
func (m *Mover) open(ctx context.Context, opened *session.Session) (restic.Config, error) {
	timeout := cmp.Or(m.OpenTimeout, openTimeout)
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("it did not open within %s", timeout))
	defer cancel()
	return opened.CatConfig(ctx)
}

// withRemedy adds what to do to an error of restic, where that is known.
func withRemedy(url string, err error) error {
	var exit *restic.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	remedy := repository.Remedy(url, exit.Said())
	if remedy == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, remedy)
}

// withSession opens a repository for the time of do.
func (m *Mover) withSession(ctx context.Context, which Repository, do func(*session.Session) error) (err error) {
	opened, err := m.Opener.Open(ctx, which.Location, which.Namespace)
	if err != nil {
		return err
	}
	defer func() {
		if closing := opened.Close(); err == nil {
			err = closing
		}
	}()
	err = withRemedy(opened.URL, do(opened))
	if errors.Is(err, restic.ErrKilled) {
		// The lock of the dead would keep others out for half an hour.
		if _, unlocking := m.removeStale(ctx, opened); unlocking != nil {
			return errors.Join(err, unlocking)
		}
	}
	return err
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
)

// resticLimit bounds one run of restic. Some tests let it hold a lock while the cluster waits.
const resticLimit = 10 * time.Minute

// snapshot is what restic prints of a snapshot (restic v0.19.1, internal/restic/snapshot.go).
type snapshot struct {
	ID       string   `json:"id"`
	Hostname string   `json:"hostname"`
	Tags     []string `json:"tags"`
}

// isOf returns whether a backup of this name created the snapshot.
func (s snapshot) isOf(backup string) bool {
	return slices.Contains(s.Tags, contract.TagBackup+"="+backup)
}

// snapshots lists the repository of a namespace with restic itself, as an administrator who has the password does.
func snapshots(t *testing.T, namespace string) []snapshot {
	t.Helper()
	return snapshotsAt(t, repositoryPath(t, namespace), password(t))
}

// snapshotsAt lists the repository at a path, which begins with the bucket.
func snapshotsAt(t *testing.T, path, password string) []snapshot {
	t.Helper()
	cmd, stderr := resticCommand(t, path, password, "snapshots", "--json", "--no-lock", "--no-cache")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("listing snapshots: %v: %s", err, stderr)
	}
	var found []snapshot
	if err := json.Unmarshal(out, &found); err != nil {
		t.Fatalf("reading restic's list of snapshots: %v: %s", err, out)
	}
	return found
}

// wantSnapshots waits until the repository of the namespace holds exactly the snapshots with these IDs.
func wantSnapshots(t *testing.T, namespace string, ids ...string) {
	t.Helper()
	slices.Sort(ids)
	eventually(t, time.Minute, "snapshots in the repository of "+namespace, func() error {
		var found []string
		for _, s := range snapshots(t, namespace) {
			found = append(found, s.ID)
		}
		slices.Sort(found)
		if !slices.Equal(found, ids) {
			return fmt.Errorf("found %v, want %v", found, ids)
		}
		return nil
	})
}

// runRestic runs restic without a lock on the repository of a namespace.
func runRestic(t *testing.T, namespace string, args ...string) ([]byte, error) {
	t.Helper()
	cmd, stderr := resticCommand(t, repositoryPath(t, namespace), password(t),
		append([]string{"--no-lock", "--no-cache"}, args...)...)
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("restic %s: %w: %s", strings.Join(args, " "), err, stderr)
	}
	return out, nil
}

// repositoryPath is the path of a namespace's repository in the default storage location. It begins with the bucket.
func repositoryPath(t *testing.T, namespace string) string {
	t.Helper()
	return clusterOf(t).store.Bucket + "/restic/" + namespace
}

// repositoryFiles is the directory of a namespace's repository among the files of the bucket.
func repositoryFiles(t *testing.T, namespace string) string {
	t.Helper()
	return filepath.Join(clusterOf(t).store.Folder, "restic", namespace)
}

// resticCommand prepares restic for the repository at a path, which begins with the bucket, and returns what will be
// its error output.
func resticCommand(t *testing.T, path, password string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	program := os.Getenv("RESTIC_BINARY")
	if program == "" {
		program = filepath.Join(suite.repository, "bin", "restic")
	}
	ctx, cancel := context.WithTimeout(t.Context(), resticLimit)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, program, args...)
	store := clusterOf(t).store
	cmd.Env = []string{
		"RESTIC_REPOSITORY=s3:" + store.Endpoint + "/" + path, "RESTIC_PASSWORD=" + password,
		"AWS_SHARED_CREDENTIALS_FILE=" + store.Credentials, "AWS_DEFAULT_REGION=" + store.Region,
	}
	stderr := &bytes.Buffer{}
	cmd.Stderr = stderr
	return cmd, stderr
}

// password returns the password of the repositories.
func password(t *testing.T) string {
	t.Helper()
	secret := get[corev1.Secret](t, velero.Namespace, contract.PasswordSecret)
	value := secret.Data[contract.PasswordSecretKey]
	if len(value) == 0 {
		t.Fatalf("secret %s has no key %s", contract.PasswordSecret, contract.PasswordSecretKey)
	}
	return string(value)
}

// repositorySize sums up the files of a namespace's repository in the bucket, in bytes.
func repositorySize(t *testing.T, namespace string) int64 {
	t.Helper()
	var total int64
	err := filepath.WalkDir(repositoryFiles(t, namespace), func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		total += info.Size()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return total
}

// removeFiles removes every file below a directory, and fails the test if there is none.
func removeFiles(t *testing.T, directory string) {
	t.Helper()
	removed := 0
	err := filepath.WalkDir(directory, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		removed++
		return os.Remove(path)
	})
	if err != nil || removed == 0 {
		t.Fatalf("removed %d files below %s: %v", removed, directory, err)
	}
}

// lockFiles returns the files of the locks in a namespace's repository.
func lockFiles(t *testing.T, namespace string) []string {
	t.Helper()
	directory := filepath.Join(repositoryFiles(t, namespace), "locks")
	entries, err := os.ReadDir(directory)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // the gateway removes a directory with its last file
		t.Fatal(err)
	}
	var locks []string
	for _, entry := range entries {
		if entry.Type().IsRegular() {
			locks = append(locks, filepath.Join(directory, entry.Name()))
		}
	}
	return locks
}

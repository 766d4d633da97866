// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
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

// snapshot is what restic lists of one (restic v0.19.1, internal/restic/snapshot.go).
type snapshot struct {
	ID       string   `json:"id"`
	Hostname string   `json:"hostname"`
	Tags     []string `json:"tags"`
}

// isOf says whether the snapshot was made for a backup of this name.
func (s snapshot) isOf(backup string) bool {
	return slices.Contains(s.Tags, contract.TagBackup+"="+backup)
}

// snapshots asks the real restic what is in the repository of a namespace, as an administrator with the password would.
func snapshots(t *testing.T, namespace string) []snapshot {
	t.Helper()
	return snapshotsAt(t, repositoryPath(namespace), password(t))
}

// snapshotsAt does so for the repository in a folder of a bucket.
func snapshotsAt(t *testing.T, folder, password string) []snapshot {
	t.Helper()
	cmd, stderr := resticCommand(t, folder, password, "snapshots", "--json", "--no-lock", "--no-cache")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("listing snapshots: %v: %s", err, stderr)
	}
	var list []snapshot
	if err := json.Unmarshal(out, &list); err != nil {
		t.Fatalf("reading restic's snapshots: %v: %s", err, out)
	}
	return list
}

// wantSnapshots waits until exactly these snapshots, by ID, are in the repository of the namespace.
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
			return fmt.Errorf("there are %v, want %v", found, ids)
		}
		return nil
	})
}

func runRestic(t *testing.T, namespace string, args ...string) ([]byte, error) {
	t.Helper()
	cmd, stderr := resticCommand(t, repositoryPath(namespace), password(t), append([]string{"--no-lock", "--no-cache"}, args...)...)
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("restic %s: %w: %s", strings.Join(args, " "), err, stderr)
	}
	return out, nil
}

// repositoryPath is where the repository of a namespace is: the bucket and its folder.
func repositoryPath(namespace string) string { return suite.store.Bucket + "/restic/" + namespace }

// resticCommand is a call of restic for the repository in a folder of a bucket, and what it says on standard error.
func resticCommand(t *testing.T, folder, password string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	program := os.Getenv("RESTIC_BINARY")
	if program == "" {
		program = filepath.Join(suite.repository, "bin", "restic")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = []string{
		"RESTIC_REPOSITORY=s3:" + suite.store.Endpoint + "/" + folder,
		"RESTIC_PASSWORD=" + password, "AWS_SHARED_CREDENTIALS_FILE=" + suite.store.Credentials,
		"AWS_DEFAULT_REGION=" + suite.store.Region,
	}
	stderr := &bytes.Buffer{}
	cmd.Stderr = stderr
	return cmd, stderr
}

func password(t *testing.T) string {
	t.Helper()
	secret := get[corev1.Secret](t, "-n", velero.Namespace, "secret", contract.PasswordSecret)
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
	folder := filepath.Join(suite.store.Folder, "restic", namespace)
	err := filepath.WalkDir(folder, func(_ string, entry fs.DirEntry, err error) error {
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

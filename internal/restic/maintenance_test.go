// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package restic_test

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic/restictest"
)

// packs returns the files of a repository's data, the largest first.
func packs(t *testing.T, repository restic.Repository) []string {
	t.Helper()
	var (
		files   []string
		largest int64
	)
	err := filepath.WalkDir(filepath.Join(repository.URL, "data"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if info.Size() > largest {
			largest, files = info.Size(), append([]string{path}, files...)
		} else {
			files = append(files, path)
		}
		return nil
	})
	if err != nil || len(files) == 0 {
		t.Fatalf("%d packs: %v", len(files), err)
	}
	return files
}

// kept makes a repository with one snapshot of a large file.
func kept(t *testing.T) (restic.Repository, *restic.Client, string) {
	t.Helper()
	repository := restictest.Repository(t)
	client := restic.NewClient(restictest.Process(t), repository)
	if err := client.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	dir := source(t)
	writeFile(t, filepath.Join(dir, "large"), incompressible(1<<20))
	return repository, client, backup(t, client, restic.BackupOptions{Dir: dir}).SnapshotID
}

func incompressible(size int) string {
	content := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{}).Read(content) // it never fails
	return string(content)
}

func TestCheck(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		damage  func(t *testing.T, repository restic.Repository)
		options restic.CheckOptions
		errors  bool
		says    string
		broken  int
	}{
		"a whole repository is intact": {options: restic.CheckOptions{Part: 1, Parts: 1}},
		"a pack that is altered is found where it is read": {
			damage: garble, options: restic.CheckOptions{Part: 1, Parts: 1}, errors: true, says: "ciphertext", broken: 1,
		},
		"a pack that is altered is not found by the structure alone": {damage: garble},
		"a pack that is gone is found by the structure alone": {
			damage: func(t *testing.T, repository restic.Repository) {
				t.Helper()
				if err := os.Remove(packs(t, repository)[0]); err != nil {
					t.Fatal(err)
				}
			},
			errors: true, says: "does not exist",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			repository, client, _ := kept(t)
			if c.damage != nil {
				c.damage(t, repository)
			}
			result, err := client.Check(t.Context(), c.options)
			if c.errors != errors.Is(err, restic.ErrDamaged) || (!c.errors && err != nil) || c.errors != (result.Errors > 0) {
				t.Errorf("got %+v, %v", result, err)
			}
			if len(result.BrokenPacks) != c.broken {
				t.Errorf("the broken packs are %v", result.BrokenPacks)
			}
			if said := strings.Join(result.Problems.First, "\n"); !strings.Contains(said, c.says) ||
				strings.Contains(said, "troubleshooting") || (c.says == "") != (said == "") {
				t.Errorf("it says %q, want %q", said, c.says)
			}
		})
	}
}

func garble(t *testing.T, repository restic.Repository) {
	t.Helper()
	pack := packs(t, repository)[0]
	if err := os.Chmod(pack, 0o600); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(pack)
	if err != nil {
		t.Fatal(err)
	}
	content[100] ^= 1
	if err := os.WriteFile(pack, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCheckRefusesAPartThatThereIsNot(t *testing.T) {
	client := restic.NewClient(&restictest.Runner{}, restic.Repository{})
	for _, o := range []restic.CheckOptions{{Parts: 3}, {Parts: 3, Part: 4}, {Parts: 257, Part: 1}, {Parts: -1}} {
		if _, err := client.Check(t.Context(), o); err == nil || errors.Is(err, restic.ErrBadAnswer) {
			t.Errorf("%+v: got %v", o, err)
		}
	}
}

func TestPrune(t *testing.T) {
	t.Parallel()
	repository, client, id := kept(t)
	large := packs(t, repository)[0]
	backup(t, client, restic.BackupOptions{Dir: source(t)})
	if err := client.Forget(t.Context(), []string{id}); err != nil {
		t.Fatal(err)
	}
	result, err := client.Prune(t.Context(), restic.PruneOptions{MaxUnused: "0", MaxRepackSize: "1G"})
	if err != nil || !strings.HasPrefix(result.Freed, "1.0") || !strings.HasSuffix(result.Freed, " MiB") || result.LastLines == "" {
		t.Errorf("got %+v, %v", result, err)
	}
	if _, err := os.Stat(large); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the forgotten data is still there: %v", err)
	}
	if _, err := client.Check(t.Context(), restic.CheckOptions{Part: 1, Parts: 1}); err != nil {
		t.Errorf("after the prune: %v", err)
	}
	again, err := client.Prune(t.Context(), restic.PruneOptions{})
	if err != nil || again.Freed != "0 B" {
		t.Errorf("with nothing left to free: got %+v, %v", again, err)
	}
}

func TestPruneOptions(t *testing.T) {
	cases := map[string]struct {
		options restic.PruneOptions
		says    string
	}{
		"nothing":         {},
		"a share":         {options: restic.PruneOptions{MaxUnused: "2.5%"}},
		"a size":          {options: restic.PruneOptions{MaxUnused: "200M", MaxRepackSize: "10G"}},
		"no limit":        {options: restic.PruneOptions{MaxUnused: "unlimited"}},
		"words":           {options: restic.PruneOptions{MaxUnused: "a bit"}, says: "maxUnused"},
		"a flag":          {options: restic.PruneOptions{MaxRepackSize: "1G --force"}, says: "maxRepackSize"},
		"a share of that": {options: restic.PruneOptions{MaxRepackSize: "5%"}, says: "maxRepackSize"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			err := c.options.Validate()
			if (err == nil) != (c.says == "") || (err != nil && !strings.Contains(err.Error(), c.says)) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestMaintenanceOfALockedRepository(t *testing.T) {
	t.Parallel()
	process := restictest.Process(t)
	repository, client, _ := kept(t)
	holder, _ := holdLock(t, process.Binary, repository)
	held := waitLocks(t, client, 1)[0]
	_, check := client.Check(t.Context(), restic.CheckOptions{})
	_, prune := client.Prune(t.Context(), restic.PruneOptions{})
	for name, err := range map[string]error{"Check": check, "Prune": prune} {
		if !errors.Is(err, restic.ErrLocked) {
			t.Errorf("%s: got %v", name, err)
		}
		lock, known := restic.BlockedBy(err, time.Now())
		if !known || lock.Hostname != held.Hostname || lock.PID != holder.Process.Pid || lock.Exclusive ||
			!strings.HasPrefix(held.ID, lock.ID) || lock.Time.Sub(held.Time).Abs() > 30*time.Second {
			t.Errorf("%s: the lock is %+v, want %+v", name, lock, held)
		}
	}
	repository.ReadOnly = true
	reader := restic.NewClient(process, repository)
	if _, err := reader.Check(t.Context(), restic.CheckOptions{}); err != nil {
		t.Errorf("a read-only repository is checked without a lock: got %v", err)
	}
	if _, err := reader.Prune(t.Context(), restic.PruneOptions{}); !errors.Is(err, restic.ErrReadOnly) {
		t.Errorf("a read-only repository is not pruned: got %v", err)
	}
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = holder.Wait() // killed
	if lock, known := restic.BlockedBy(errors.New("it is something else"), time.Now()); known {
		t.Errorf("got %+v", lock)
	}
}

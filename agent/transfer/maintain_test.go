// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package transfer_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic/restictest"
)

// leaveLock has a real restic hold the repository's lock, or be killed with it.
func (s *site) leaveLock(kill bool) *exec.Cmd {
	s.t.Helper()
	count := func() int {
		// One that is still being written has a longer name, and would not outlive its holder.
		locks, _ := filepath.Glob(filepath.Join(s.bucket, "shop", "locks", strings.Repeat("?", 64)))
		return len(locks)
	}
	before := count()
	password := filepath.Join(s.t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("correct horse"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.CommandContext(s.t.Context(), restictest.Binary(s.t), "--no-cache", "backup", "--stdin", "--quiet")
	cmd.Env = []string{
		"RESTIC_REPOSITORY=" + filepath.Join(s.bucket, "shop"), "RESTIC_PASSWORD_FILE=" + password,
		"HOME=" + s.t.TempDir(), "TMPDIR=" + s.t.TempDir(),
	}
	if _, err := cmd.StdinPipe(); err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if count() > before {
			break
		}
		if time.Now().After(end) {
			s.t.Fatal("restic takes no lock")
		}
	}
	if kill {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
	}
	return cmd
}

func (s *site) maintain(request transfer.MaintainRequest) transfer.MaintainOutcome {
	s.t.Helper()
	request.Repository = shop()
	outcome := s.Maintain(s.t.Context(), request)
	content, err := json.Marshal(outcome)
	if err != nil || len(content) > 4096 || strings.Contains(string(content), "correct horse") {
		s.t.Errorf("the outcome does not suit a termination message: %s, %v", content, err)
	}
	return outcome
}

func TestMaintain(t *testing.T) {
	t.Parallel()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	check := transfer.MaintainRequest{
		Operation: resticv1.OperationCheck, Check: restic.CheckOptions{Part: 1, Parts: 1},
	}
	prune := transfer.MaintainRequest{Operation: resticv1.OperationPrune}
	cases := map[string]struct {
		prepare func(s *site)
		request transfer.MaintainRequest
		result  resticv1.MaintenanceResult
		says    string
		damaged bool
	}{
		"a check of a repository that is whole": {request: check, result: resticv1.MaintenanceSucceeded, says: "all data"},
		"a prune with nothing to do":            {request: prune, result: resticv1.MaintenanceSucceeded, says: "freed 0 B"},
		"a check that finds damage": {
			prepare: func(s *site) {
				if err := os.RemoveAll(filepath.Join(s.bucket, "shop", "index")); err != nil {
					t.Fatal(err)
				}
				if err := os.RemoveAll(filepath.Join(s.bucket, "shop", "data")); err != nil {
					t.Fatal(err)
				}
			},
			request: check, result: resticv1.MaintenanceFailed, says: "docs/maintenance.md", damaged: true,
		},
		"a prune beside a lock": {
			prepare: func(s *site) { s.leaveLock(false) }, request: prune, result: resticv1.MaintenanceLocked, says: host,
		},
		"an unlock beside a lock of the living": {
			prepare: func(s *site) { s.leaveLock(false) }, request: transfer.MaintainRequest{Operation: resticv1.OperationUnlock},
			result: resticv1.MaintenanceSucceeded, says: "removed 0 abandoned locks; left: host " + host,
		},
		"an unlock with the name of the dead": {
			prepare: func(s *site) { s.leaveLock(true) },
			request: transfer.MaintainRequest{Operation: resticv1.OperationUnlock, Host: host},
			result:  resticv1.MaintenanceSucceeded, says: "removed 1 abandoned locks, none is left",
		},
		"an unlock with another name than that of the dead": {
			prepare: func(s *site) { s.leaveLock(true) },
			request: transfer.MaintainRequest{Operation: resticv1.OperationUnlock, Host: "restic-dead1"},
			result:  resticv1.MaintenanceFailed, says: "cannot be told from those of the living",
		},
		"no password": {
			prepare: func(s *site) { s.setPassword("wrong") }, request: prune, result: resticv1.MaintenanceFailed,
			says: "does not open",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.Host = host
			if _, err := s.Probe(t.Context(), transfer.ProbeRequest{Repository: shop()}, nil); err != nil {
				t.Fatal(err)
			}
			volume, _ := s.volume("pod-1", map[string]string{"a": "content"})
			s.backup(volume, "pvb-1", nil)
			if c.prepare != nil {
				c.prepare(s)
			}
			got := s.maintain(c.request)
			if got.Result != c.result || !strings.Contains(got.Message, c.says) || got.Damaged != c.damaged {
				t.Errorf("got %+v, want %s %q", got, c.result, c.says)
			}
		})
	}
}

func TestLocksOfGoneHolders(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	if _, err := s.Probe(t.Context(), transfer.ProbeRequest{Repository: shop()}, nil); err != nil {
		t.Fatal(err)
	}
	living := s.leaveLock(false)
	s.leaveLock(true)
	look := func(host string, shared bool, want int) {
		t.Helper()
		s.Host, s.SharedHost = host, shared
		outcome, err := s.Locks(t.Context(), transfer.LocksRequest{Repository: shop()}, nil)
		if err != nil || len(outcome.Locks) != want {
			t.Errorf("as %s (shared: %v): got %+v, %v, want %d", host, shared, outcome, err, want)
		}
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	look("another", false, 2)
	look(host, true, 2)
	look(host, false, 1)
	outcome, err := s.Locks(t.Context(), transfer.LocksRequest{Repository: shop()}, nil)
	if err != nil || len(outcome.Locks) != 1 || outcome.Locks[0].PID != living.Process.Pid {
		t.Errorf("got %+v, %v", outcome, err)
	}
}

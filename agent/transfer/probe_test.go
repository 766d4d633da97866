// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package transfer_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic/restictest"
)

func TestProbe(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	probe := func(known string, allow bool) (transfer.ProbeOutcome, error) {
		return s.Probe(t.Context(), transfer.ProbeRequest{
			Repository: shop(), KnownID: known, AllowWellKnown: allow,
		}, nil)
	}
	wantNone := func() {
		t.Helper()
		if _, err := os.Stat(filepath.Join(s.bucket, "shop")); err == nil {
			t.Fatal("a repository was made")
		}
	}

	s.setPassword(staticPassword)
	_, err := probe("", false)
	wantNotUsable(t, err, "velero/"+contract.PasswordSecret, "kubectl -n velero create secret generic")
	wantNone()

	s.setPassword("correct horse")
	_, err = probe("0123456789abcdef", false)
	wantNotUsable(t, err, "shop", "id 01234567)", s.bucket, "restore the bucket", "delete this ResticRepository")
	wantNone()

	made, err := probe("", false)
	if err != nil || !made.Made || len(made.ID) != 64 || made.URL != filepath.Join(s.bucket, "shop") {
		t.Fatalf("making it gave %+v, %v", made, err)
	}
	again, err := probe(made.ID, false)
	if err != nil || again.Made || again.ID != made.ID {
		t.Errorf("opening it gave %+v, %v", again, err)
	}

	s.setPassword("wrong")
	_, err = probe(made.ID, false)
	wantNotUsable(t, err, "velero/"+contract.PasswordSecret, "key "+contract.PasswordSecretKey)
	if strings.Contains(err.Error(), "wrong ") || strings.Contains(err.Error(), "correct horse") {
		t.Errorf("%q tells a password", err)
	}

	if err := os.RemoveAll(filepath.Join(s.bucket, "shop")); err != nil {
		t.Fatal(err)
	}
	s.setPassword(staticPassword)
	old, err := probe("", true)
	if err != nil || !old.Made {
		t.Fatalf("with the well-known password, which is allowed: %+v, %v", old, err)
	}
	if got, err := probe(old.ID, false); err != nil || got.ID != old.ID {
		t.Errorf("an old repository with the well-known password gave %+v, %v", got, err)
	}
}

func TestProbeReadOnly(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setReadOnly()
	_, err := s.Probe(t.Context(), transfer.ProbeRequest{Repository: shop()}, nil)
	wantNotUsable(t, err, "BackupStorageLocation "+locationName, "read-only", s.bucket)
	if _, err := os.Stat(filepath.Join(s.bucket, "shop")); err == nil {
		t.Error("a repository was made in a read-only location")
	}
}

// TestProbesAtOnce opens a repository several times at once, as the leader and operations of a node do.
func TestProbesAtOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	made := s.probe()
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			got, err := s.Probe(t.Context(), transfer.ProbeRequest{Repository: shop(), KnownID: made.ID}, nil)
			if err != nil || got.Made || got.ID != made.ID {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
	all.Wait()
}

// TestProbeIsLate looks for a repository that somebody else makes in between.
func TestProbeIsLate(t *testing.T) {
	t.Parallel()
	runner := &restictest.Runner{}
	runner.On("cat", restictest.Reply{Err: &restic.ExitError{Subcommand: "cat", Code: 10}},
		restictest.Reply{Lines: []string{`{"version":2,"id":"another's"}`}})
	runner.On("init", restictest.Reply{Err: &restic.ExitError{
		Subcommand: "init", Code: 1, Message: "create repository failed: config file already exists",
	}})
	got, err := newSiteWith(t, runner).Probe(t.Context(), transfer.ProbeRequest{Repository: shop()}, nil)
	if err != nil || got.Made || got.ID != "another's" {
		t.Errorf("got %+v, %v", got, err)
	}
}

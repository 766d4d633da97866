// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package transfer_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic/restictest"
)

const (
	confined   = "system_u:system_r:container_t:s0:c12,c34"
	privileged = "system_u:system_r:spc_t:s0"
)

// TestRefusedByTheNode has restic say that it may not read files, on nodes with and without SELinux.
func TestRefusedByTheNode(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		label, problem, files string
		want                  error
		explained             bool
	}{
		"some files, by SELinux":        {confined, "open: permission denied", "7", nil, true},
		"all files, by SELinux":         {confined, "open: permission denied", "0", restic.ErrSourceIncomplete, true},
		"some files, by somebody else":  {privileged, "open: permission denied", "7", nil, false},
		"something else, under SELinux": {confined, "read: input/output error", "7", nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runner := &restictest.Runner{}
			runner.On("backup", restictest.Reply{
				Lines:    []string{summary(c.files)},
				Problems: []restic.Problem{{Item: "/v/locked", During: "archival", Message: c.problem}},
				Err:      &restic.ExitError{Subcommand: "backup", Code: 3},
			})
			s := newSiteWith(t, runner)
			s.Finder.Label = func() string { return c.label }
			source, _ := s.volume("pod-1", map[string]string{"a": ""})
			outcome, err := s.Backup(t.Context(), transfer.BackupRequest{
				Repository: shop(), Volume: source, Tags: map[string]string{contract.TagPodVolumeBackup: "pvb-1"},
			}, ignore)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			said := outcome.Warnings.First[0]
			if err != nil {
				said = err.Error()
			}
			if strings.Contains(said, "examples/selinux") != c.explained {
				t.Errorf("it is explained: %v, want %v: %s", !c.explained, c.explained, said)
			}
		})
	}
}

// TestShareWithoutAnswers backs up, with the real restic, a volume that the mount table calls an SMB share.
func TestShareWithoutAnswers(t *testing.T) {
	t.Parallel()
	for options, warnings := range map[string]int64{"rw,vers=3.1.1": 1, "rw,vers=3.1.1,nouser_xattr": 0} {
		s := newSite(t)
		s.probe()
		source, dir := s.volume("pod-1", map[string]string{"a": "content"})
		s.Finder.Mounts = func() ([]byte, error) {
			return []byte("120 90 0:55 / " + dir + " rw shared:1 - cifs //account/share " + options + "\n"), nil
		}
		outcome := s.backup(source, "pvb-1", nil)
		if outcome.Warnings.Count != warnings || int64(len(outcome.Warnings.First)) != warnings ||
			warnings > 0 && !strings.Contains(outcome.Warnings.First[0], "add nouser_xattr to mountOptions") {
			t.Errorf("with %s the warnings are %+v", options, outcome.Warnings)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package coverage_test

import (
	"strings"
	"testing"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/coverage"
)

// TestPreviewBackup compares the preview of a pod with one volume, or the error for a backup that Velero rejects.
func TestPreviewBackup(t *testing.T) {
	cases := map[string]struct {
		given   func(s *fixture)
		refused string
	}{
		"a schedule":                 {func(*fixture) {}, ""},
		"a paused schedule":          {func(s *fixture) { s.schedules[0].Spec.Paused = true }, ""},
		"an invalid cron expression": {func(s *fixture) { s.schedules[0].Spec.Schedule = "TZ=" }, ""},
		"the storage location does not exist": {
			func(s *fixture) { s.template().StorageLocation = "gone" }, "no BackupStorageLocation gone",
		},
		"the storage location is not available": {
			func(s *fixture) { s.server.StorageLocations[0].Phase = velerov1.BackupStorageLocationPhaseUnavailable },
			"BackupStorageLocation default is not available (phase Unavailable)",
		},
		"several snapshot locations": {
			func(s *fixture) {
				s.server.SnapshotLocations = []coverage.SnapshotLocation{{Name: "a", Provider: "aws"}, {Name: "b", Provider: "aws"}}
			}, "several VolumeSnapshotLocations",
		},
		"the policies are invalid": {func(s *fixture) { s.policies["base"] = "version: v7" }, "version is"},
		"its spec contradicts itself": {
			func(s *fixture) {
				s.template().IncludedNamespaces, s.template().ExcludedNamespaces = []string{"foo"}, []string{"foo"}
			}, "both in includedNamespaces and in excludedNamespaces",
		},
		"paused and rejected": {
			func(s *fixture) { s.schedules[0].Spec.Paused, s.template().StorageLocation = true, "gone" }, "gone",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := newFixture()
			s.claim("data")
			s.pod("web", "data", "data")
			c.given(s)
			previews, err := coverage.PreviewBackup(s.group, coverage.SchedulePlan(s.schedules[0], s.sources(t)))
			switch {
			case c.refused == "" && (err != nil || previews[0].Volumes[0].Method != coverage.MethodRestic):
				t.Errorf("got %+v, %v", previews, err)
			case c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)):
				t.Errorf("got %+v and error %v, want one that says %q", previews, err, c.refused)
			}
		})
	}
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package coverage_test

import (
	"strings"
	"testing"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/coverage"
)

// TestLook has what is said of a pod whose volume restic takes, and what of a backup that Velero refuses.
func TestLook(t *testing.T) {
	cases := map[string]struct {
		given   func(s *scene)
		refused string
	}{
		"a backup that is made":                 {func(*scene) {}, ""},
		"a paused schedule may be asked for it": {func(s *scene) { s.schedules[0].Spec.Paused = true }, ""},
		"its times do not matter":               {func(s *scene) { s.schedules[0].Spec.Schedule = "TZ=" }, ""},
		"there is no such storage location": {
			func(s *scene) { s.template().StorageLocation = "gone" }, "no BackupStorageLocation gone",
		},
		"the storage location is not available": {
			func(s *scene) { s.server.StorageLocations[0].Phase = velerov1.BackupStorageLocationPhaseUnavailable },
			"BackupStorageLocation default is not available (phase Unavailable)",
		},
		"several locations for snapshots": {
			func(s *scene) {
				s.server.SnapshotLocations = []coverage.SnapshotLocation{{Name: "a", Provider: "aws"}, {Name: "b", Provider: "aws"}}
			}, "several VolumeSnapshotLocations",
		},
		"the policies cannot be read": {func(s *scene) { s.policies["base"] = "version: v7" }, "version is"},
		"its spec contradicts itself": {
			func(s *scene) {
				s.template().IncludedNamespaces, s.template().ExcludedNamespaces = []string{"foo"}, []string{"foo"}
			}, "both in includedNamespaces and in excludedNamespaces",
		},
		"paused, and refused besides": {
			func(s *scene) { s.schedules[0].Spec.Paused, s.template().StorageLocation = true, "gone" }, "gone",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := newScene()
			s.claim("data")
			s.pod("web", "data", "data")
			c.given(s)
			previews, err := coverage.Look(s.group, coverage.SchedulePlan(s.schedules[0], s.sources(t)))
			switch {
			case c.refused == "" && (err != nil || previews[0].Volumes[0].Method != coverage.MethodRestic):
				t.Errorf("got %+v, %v", previews, err)
			case c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)):
				t.Errorf("got %+v and error %v, want one that says %q", previews, err, c.refused)
			}
		})
	}
}

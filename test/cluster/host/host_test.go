// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckCgroups(t *testing.T) {
	tests := map[string]struct {
		files map[string]string
		names []string
	}{
		"version 2 with all controllers": {
			files: map[string]string{"cgroup.controllers": "cpuset cpu io memory hugetlb pids rdma\n"},
		},
		"version 2 where cpuset is only part of another name": {
			files: map[string]string{"cgroup.controllers": "cpusets cpu memory pids\n"},
			names: []string{"cpuset"},
		},
		"version 1 with a hierarchy for each": {
			files: map[string]string{
				"cpu/cgroup.procs": "", "cpuset/cgroup.procs": "", "memory/cgroup.procs": "", "pids/cgroup.procs": "",
			},
		},
		"version 1 without memory": {
			files: map[string]string{"cpu/cgroup.procs": "", "cpuset/cgroup.procs": "", "pids/cgroup.procs": ""},
			names: []string{"memory"},
		},
		"nothing mounted": {names: []string{"cpu", "cpuset", "memory", "pids"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for file, content := range test.files {
				file = filepath.Join(root, file)
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			problem := checkCgroups(root)
			if len(test.names) == 0 && problem != "" {
				t.Errorf("got %q, want no problem", problem)
			}
			if want := strings.Join(test.names, ", "); !strings.Contains(problem, want) {
				t.Errorf("got %q, want it to name %s", problem, want)
			}
		})
	}
}

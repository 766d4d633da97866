// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/test/fixture"
)

// fixtureInPod is the path of the fixture program in a pod.
const fixtureInPod = "/tmp/fixture"

// runFixture runs the fixture program in the pod, where it sees the volume as the application does.
func (ns *testNamespace) runFixture(pod string, args ...string) string {
	ns.t.Helper()
	in := []string{"-n", ns.name, "-c", "main"}
	if _, err := tryKubectl(ns.t, append(in, "exec", pod, "--", "test", "-x", fixtureInPod)...); err != nil {
		kubectl(ns.t, append(in, "cp", suite.fixture, pod+":"+fixtureInPod)...)
	}
	return kubectl(ns.t, append(append(in, "exec", pod, "--", fixtureInPod), args...)...)
}

// fillVolume creates the fixture's files at the path: all of them, or fewer with --small.
func (ns *testNamespace) fillVolume(pod, path string, flags ...string) {
	ns.t.Helper()
	start := time.Now()
	ns.runFixture(pod, append([]string{"create", path}, flags...)...)
	ns.t.Logf("filled %s of pod %s in %.1f s", path, pod, time.Since(start).Seconds())
}

// recordVolume returns what is in the volume at the path.
func (ns *testNamespace) recordVolume(pod, path string) []fixture.Entry {
	ns.t.Helper()
	return loadRecord(ns.t, ns.runFixture(pod, "record", path))
}

// loadRecord reads the output of the fixture program.
func loadRecord(t *testing.T, record string) []fixture.Entry {
	t.Helper()
	file := filepath.Join(t.TempDir(), "manifest")
	if err := os.WriteFile(file, []byte(record), 0o600); err != nil {
		t.Fatal(err)
	}
	entries, err := fixture.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// waitMarkerRemoved waits until the agent has removed its markers for the init container.
func (ns *testNamespace) waitMarkerRemoved(pod, path string) {
	ns.t.Helper()
	eventually(ns.t, time.Minute, contract.MarkerDir+" removed from "+path, func() error {
		if names := strings.Split(ns.shell(pod, "ls -A "+path), "\n"); slices.Contains(names, contract.MarkerDir) {
			return fmt.Errorf("the files are %v", names)
		}
		return nil
	})
}

// wantSameFiles compares a restored volume with the original.
func wantSameFiles(t *testing.T, what string, before, after []fixture.Entry) {
	t.Helper()
	const shown = 20
	result := fixture.Compare(before, after, fixture.Options{})
	t.Logf("%s: compared %v, %.1f MiB: %d differences",
		what, result.Counts, float64(result.Bytes)/(1<<20), len(result.Differences))
	if len(before) < 2 {
		t.Errorf("%s: there was nothing to compare", what)
	}
	for i, difference := range result.Differences {
		if i == shown {
			t.Errorf("%s: ... and %d more", what, len(result.Differences)-shown)
			break
		}
		t.Errorf("%s: %s", what, difference)
	}
}

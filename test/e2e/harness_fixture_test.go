// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/test/fixture"
)

// fixtureInPod is where the fixture program lies in a pod.
const fixtureInPod = "/tmp/fixture"

// runFixture runs the fixture program inside the pod, where it sees the volume as the application does.
func (ns *testNamespace) runFixture(pod string, args ...string) string {
	ns.t.Helper()
	in := []string{"-n", ns.name, "-c", "main"}
	if _, err := tryKubectl(ns.t, append(in, "exec", pod, "--", "test", "-x", fixtureInPod)...); err != nil {
		kubectl(ns.t, append(in, "cp", suite.fixture, pod+":"+fixtureInPod)...)
	}
	return kubectl(ns.t, append(append(in, "exec", pod, "--", fixtureInPod), args...)...)
}

// fillVolume puts the fixture into the volume at the path: the whole of it, or a small one.
func (ns *testNamespace) fillVolume(pod, path string, flags ...string) {
	ns.t.Helper()
	start := time.Now()
	ns.runFixture(pod, append([]string{"create", path}, flags...)...)
	ns.t.Logf("filled %s of pod %s in %.1f s", path, pod, time.Since(start).Seconds())
}

// recordVolume reads all of the volume at the path.
func (ns *testNamespace) recordVolume(pod, path string) []fixture.Entry {
	ns.t.Helper()
	file := filepath.Join(ns.t.TempDir(), "manifest")
	if err := os.WriteFile(file, []byte(ns.runFixture(pod, "record", path)), 0o600); err != nil {
		ns.t.Fatal(err)
	}
	entries, err := fixture.Load(file)
	if err != nil {
		ns.t.Fatal(err)
	}
	return entries
}

// waitMarkerRemoved waits until the agent has cleared away what it told the helper.
func (ns *testNamespace) waitMarkerRemoved(pod, path string) {
	ns.t.Helper()
	eventually(ns.t, time.Minute, contract.MarkerDir+" removed from "+path, func() error {
		names := strings.Split(ns.shell(pod, "ls -A "+path), "\n")
		for _, name := range names {
			if name == contract.MarkerDir {
				return errors.New("it is there")
			}
		}
		return nil
	})
}

// wantSameFiles compares a restored volume with what it was.
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
			t.Errorf("%s: … and %d more", what, len(result.Differences)-shown)
			break
		}
		t.Errorf("%s: %s", what, difference)
	}
}

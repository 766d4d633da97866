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

// fixtureRun runs the fixture program inside the pod, where it sees the volume as the application does.
func (s *scene) fixtureRun(pod string, args ...string) string {
	s.t.Helper()
	in := []string{"-n", s.namespace, "-c", "main"}
	if _, err := tryKubectl(s.t, append(in, "exec", pod, "--", "test", "-x", fixtureInPod)...); err != nil {
		kubectl(s.t, append(in, "cp", suite.fixture, pod+":"+fixtureInPod)...)
	}
	return kubectl(s.t, append(append(in, "exec", pod, "--", fixtureInPod), args...)...)
}

// fill puts the fixture into the volume at the path: the whole of it, or a small one.
func (s *scene) fill(pod, path string, flags ...string) {
	s.t.Helper()
	start := time.Now()
	s.fixtureRun(pod, append([]string{"create", path}, flags...)...)
	s.t.Logf("filled %s of pod %s in %.1f s", path, pod, time.Since(start).Seconds())
}

// record reads all of the volume at the path.
func (s *scene) record(pod, path string) []fixture.Entry {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "manifest")
	if err := os.WriteFile(file, []byte(s.fixtureRun(pod, "record", path)), 0o600); err != nil {
		s.t.Fatal(err)
	}
	entries, err := fixture.Load(file)
	if err != nil {
		s.t.Fatal(err)
	}
	return entries
}

// waitUnmarked waits until the agent has cleared away what it told the helper.
func (s *scene) waitUnmarked(pod, path string) {
	s.t.Helper()
	eventually(s.t, time.Minute, contract.MarkerDir+" removed from "+path, func() error {
		names := strings.Split(s.shell(pod, "ls -A "+path), "\n")
		for _, name := range names {
			if name == contract.MarkerDir {
				return errors.New("it is there")
			}
		}
		return nil
	})
}

// same compares a restored volume with what it was.
func same(t *testing.T, what string, before, after []fixture.Entry) {
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

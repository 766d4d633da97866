// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/cli/plan"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// TestPlan compares what velero-restic plan predicts with what a backup then does with each volume.
func TestPlan(t *testing.T) {
	shareCluster(t)
	ns := newNamespace(t, "plan", 1)
	host := corev1.Volume{Name: "host", VolumeSource: corev1.VolumeSource{
		HostPath: &corev1.HostPathVolumeSource{Path: "/tmp"},
	}}
	some := ns.pod("some", "data,host", claimVolume("data"), emptyDir("cache"), host)
	some.Labels = map[string]string{"app": "some"}
	most := ns.pod("most", "", emptyDir("kept"), emptyDir("left"))
	most.Annotations = map[string]string{contract.AnnotationVolumesToExclude: "left"}
	hidden := ns.pod("hidden", "scratch", emptyDir("scratch"))
	hidden.Labels = map[string]string{contract.LabelExcludeFromBackup: "true"}
	apply(t, ns.claim("data"), some, most, hidden)
	for _, pod := range []string{"some", "most", "hidden"} {
		ns.waitReady(pod)
	}
	for name, flags := range map[string][]string{
		"annotations": nil,
		"default":     {"--default-volumes-to-fs-backup"},
		"labels":      {"--selector=app=some", "--default-volumes-to-fs-backup"},
		"resources":   {"--include-resources=pods", "--default-volumes-to-fs-backup"},
	} {
		t.Run(name, func(t *testing.T) {
			taken, refused := planOf(t, "plan", flags...)
			backup := backUp(t, "plan-"+name, append([]string{"--include-namespaces=plan"}, flags...)...)
			var took, skipped []string
			for volume, object := range podVolumeBackups(t, backup.Name) {
				switch object.Status.Phase {
				case resticv1.PhaseCompleted:
					took = append(took, volume)
				case resticv1.PhaseSkipped:
					skipped = append(skipped, volume+" "+object.Spec.Skip.Reason)
				default:
					t.Errorf("volume %s is %s: %s", volume, object.Status.Phase, object.Status.Message)
				}
			}
			slices.Sort(took)
			slices.Sort(skipped)
			t.Logf("taken: %v; refused: %v", took, skipped)
			if diff := cmp.Diff(took, taken); diff != "" {
				t.Errorf("volumes that restic takes (-backup +plan):\n%s", diff)
			}
			if diff := cmp.Diff(skipped, refused); diff != "" {
				t.Errorf("requested volumes that cannot be backed up (-backup +plan):\n%s", diff)
			}
		})
	}
	missing := runCLI(t, "plan", "plan/none")
	if missing.code != 1 || !strings.Contains(missing.err, "pod plan/none") {
		t.Errorf("the plan of a pod that does not exist: exit code %d: %s", missing.code, missing.err)
	}
}

// planOf returns what velero-restic plan prints of a namespace, as POD/VOLUME: what restic takes, and what it refuses
// with the reason.
func planOf(t *testing.T, namespace string, flags ...string) (taken, refused []string) {
	t.Helper()
	got := runCLI(t, append([]string{"plan", namespace, "-o", "json", "--exit-code"}, flags...)...)
	var report plan.Report
	if err := json.Unmarshal([]byte(got.out), &report); err != nil {
		t.Fatalf("%v: %s%s", err, got.out, got.err)
	}
	reasons := map[string]bool{}
	for _, pod := range report.Pods {
		for _, volume := range pod.Volumes {
			key := pod.Pod + "/" + volume.Volume
			if volume.Method == "restic" {
				taken = append(taken, key)
			}
			if volume.Missed {
				reasons[key+" "+string(volume.Reason)] = true
			}
		}
	}
	if want := map[bool]int{true: 3, false: 0}[len(reasons) > 0]; got.code != want {
		t.Errorf("exit code %d with %d volumes refused: %s", got.code, len(reasons), got.err)
	}
	slices.Sort(taken)
	return taken, slices.Sorted(maps.Keys(reasons))
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// backupWithHooks freezes pod spec with hooks in the Backup. The times of files record when, to the nanosecond.
const backupWithHooks = `
apiVersion: velero.io/v1
kind: Backup
metadata: {name: ordered, namespace: velero}
spec:
  storageLocation: default
  includedNamespaces: [ordered]
  hooks:
    resources:
    - name: freeze
      includedNamespaces: [ordered]
      includedResources: [pods]
      labelSelector: {matchLabels: {hooks: spec}}
      pre:
      - exec: {container: main, onError: Fail, command: [sh, -c, "echo frozen > /data/marker; touch /log/frozen"]}
      post:
      - exec: {container: main, onError: Fail, command: [sh, -c, "touch /log/thawed; rm /data/marker"]}
`

// restoreWithHooks reads the data in an init container that Velero adds, and in a container of the pod.
const restoreWithHooks = `
apiVersion: velero.io/v1
kind: Restore
metadata: {name: ordered, namespace: velero}
spec:
  backupName: ordered
  hooks:
    resources:
    - name: look
      includedNamespaces: [ordered]
      labelSelector: {matchLabels: {hooks: spec}}
      postHooks:
      - init:
          initContainers:
          - name: look-first
            image: busybox:stable
            command: [sh, -c, "cat /data/marker"]
            volumeMounts: [{name: data, mountPath: /data}]
      - exec: {container: main, onError: Fail, command: [sh, -c, "cp /data/marker /log/seen"]}
`

// TestHookOrder has hooks in the Backup, in the Restore, and in annotations for the restore. Every container of a
// restored pod must find its data.
func TestHookOrder(t *testing.T) {
	shareCluster(t)
	ns := newNamespace(t, "ordered", 0)
	spec := ns.pod("spec", "data", emptyDir("data"), emptyDir("log"))
	spec.Labels = map[string]string{"hooks": "spec"}
	annotated := ns.pod("annotated", "data", emptyDir("data"))
	for key, value := range map[string]string{
		"init.hook.restore.velero.io/container-name":  "look-first",
		"init.hook.restore.velero.io/container-image": "busybox:stable",
		"init.hook.restore.velero.io/command":         `["true"]`,
		"post.hook.restore.velero.io/command":         `["sh", "-c", "cp /data/file /data/seen"]`,
		"post.hook.restore.velero.io/on-error":        "Fail",
	} {
		annotated.Annotations[key] = value
	}
	apply(t, spec, annotated)
	ns.waitReady("spec")
	ns.waitReady("annotated")
	ns.shell("annotated", "echo content > /data/file")

	apply(t, backupWithHooks)
	backup := waitBackup(t, "ordered", operationLimit)
	wantCompleted(t, backup)
	if got := backup.Status.HookStatus; got == nil || got.HooksAttempted != 2 || got.HooksFailed != 0 {
		t.Errorf("backup hooks are %+v, want 2 run", got)
	}
	ns.checkFrozen(wantBackedUp(t, "ordered", "spec/data", "annotated/data")["spec/data"].Status.StartTimestamp.Time)

	ns.delete()
	apply(t, restoreWithHooks)
	result := waitRestore(t, "ordered")
	wantRestored(t, result)
	if got := result.Status.HookStatus; got == nil || got.HooksAttempted != 2 || got.HooksFailed != 0 {
		t.Errorf("restore hooks are %+v, want the 2 that run in containers", got)
	}
	ns.checkInitOrder("spec")
	ns.checkInitOrder("annotated")
	if got := kubectl(t, "-n", ns.name, "logs", "spec", "-c", "look-first"); got != "frozen\n" {
		t.Errorf("the hook's init container read %q, want what restic read while the pod was frozen", got)
	}
	if got := ns.shell("spec", "cat /log/seen") + ns.shell("annotated", "cat /data/seen"); got != "frozen\ncontent\n" {
		t.Errorf("the hooks in containers read %q, want the restored files", got)
	}
}

// checkFrozen wants restic to have started between the hooks. The marker in the backup, which the post hook removes,
// shows that restic ended before the post hook.
func (ns *testNamespace) checkFrozen(started time.Time) {
	ns.t.Helper()
	times := strings.Split(ns.shell("spec", "stat -c %y /log/frozen /log/thawed; ls -A /data"), "\n")
	frozen, thawed := parseFileTime(ns.t, times[0]), parseFileTime(ns.t, times[1])
	ns.t.Logf("frozen at %s, restic started at %s, thawed at %s", frozen, started, thawed)
	if frozen.Truncate(time.Second).After(started) || thawed.Before(started) {
		ns.t.Error("restic did not start between the hooks")
	}
	if times[2] != "" {
		ns.t.Errorf("the volume holds %q after the hooks, want nothing", times[2])
	}
}

func parseFileTime(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse("2006-01-02 15:04:05.999999999 -0700", text)
	if err != nil {
		t.Fatalf("reading the hook's time: %v", err)
	}
	return at
}

// checkInitOrder wants the init container of the hook to have started after that of this project ended.
func (ns *testNamespace) checkInitOrder(name string) {
	ns.t.Helper()
	ns.waitReady(name)
	pod := get[corev1.Pod](ns.t, ns.name, name)
	statuses := pod.Status.InitContainerStatuses
	if len(statuses) != 2 || statuses[0].Name != contract.RestoreContainer || statuses[1].Name != "look-first" {
		ns.t.Fatalf("pod %s has the init containers %+v, want %s and look-first", name, statuses,
			contract.RestoreContainer)
	}
	helper, hook := statuses[0].State.Terminated, statuses[1].State.Terminated
	if helper == nil || hook == nil || hook.StartedAt.Before(&helper.FinishedAt) {
		ns.t.Errorf("pod %s: the helper is %+v and the hook %+v, want the hook after the helper", name, helper, hook)
	}
}

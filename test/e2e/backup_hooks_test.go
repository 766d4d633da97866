// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestBackupHooks backs up a pod whose hooks freeze it while restic reads.
func TestBackupHooks(t *testing.T) {
	shareCluster(t)
	ns := newNamespace(t, "hooks", 0)
	pod := ns.pod("db", "data", emptyDir("data"), emptyDir("log"))
	for key, value := range map[string]string{
		"pre.hook.backup.velero.io/command":   `["sh", "-c", "echo frozen > /data/z-state; date +%s > /log/frozen"]`,
		"post.hook.backup.velero.io/command":  `["sh", "-c", "date +%s > /log/thawed; echo thawed > /data/z-state"]`,
		"pre.hook.backup.velero.io/on-error":  "Fail",
		"post.hook.backup.velero.io/on-error": "Fail",
	} {
		pod.Annotations[key] = value
	}
	apply(t, pod)
	ns.waitReady("db")
	// restic reads the table before the state: without waiting, the post hook would change the state in the meantime.
	ns.shell("db", "head -c 100000000 /dev/urandom > /data/a-table; echo running > /data/z-state")

	backup := backUp(t, "hooks", "--include-namespaces=hooks")
	wantCompleted(t, backup)
	if got := backup.Status.HookStatus; got == nil || got.HooksAttempted != 2 || got.HooksFailed != 0 {
		t.Errorf("hooks are %+v, want 2 run", got)
	}
	if got := backup.Status.BackupItemOperationsAttempted; got != 0 {
		t.Errorf("the backup has %d operations, want 0: the plugin must wait for a pod with hooks", got)
	}
	status := wantBackedUp(t, "hooks", "db/data")["db/data"].Status
	times := strings.Fields(ns.shell("db", "cat /log/frozen /log/thawed"))
	frozen, thawed := parseUnixTime(t, times[0]), parseUnixTime(t, times[1])
	t.Logf("frozen at %s, read from %s to %s, thawed at %s",
		frozen, status.StartTimestamp, status.CompletionTimestamp, thawed)
	if status.StartTimestamp.Time.Before(frozen) || thawed.Before(status.CompletionTimestamp.Time) {
		t.Error("restic did not only read between the hooks")
	}

	ns.delete()
	wantRestored(t, restore(t, "hooks", "hooks"))
	ns.waitReady("db")
	if got := ns.shell("db", "cat /data/z-state"); got != "frozen\n" {
		t.Errorf("the state that restic read is %q, want frozen", got)
	}
}

func parseUnixTime(t *testing.T, text string) time.Time {
	t.Helper()
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatalf("reading the hook's time: %v", err)
	}
	return time.Unix(seconds, 0)
}

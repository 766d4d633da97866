// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"testing"
	"time"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"

	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
)

// TestBackupExpires lets one of two backups expire.
func TestBackupExpires(t *testing.T) {
	needsNode(t)
	shareCluster(t)
	ns := newNamespace(t, "expiry", 0)
	apply(t, ns.pod("web", "cache", emptyDir("cache")))
	ns.waitReady("web")
	ns.shell("web", "echo one > /cache/file")
	wantCompleted(t, backUp(t, "expiry-kept", "--include-namespaces=expiry"))
	kept := wantBackedUp(t, "expiry-kept", "web/cache")["web/cache"].Status.SnapshotID
	backup := backUp(t, "expiry-short", "--include-namespaces=expiry", "--ttl=20s")
	wantCompleted(t, backup)
	if backup.Status.Expiration == nil || time.Until(backup.Status.Expiration.Time) > time.Minute {
		t.Fatalf("the backup expires at %v, want in 20 seconds", backup.Status.Expiration)
	}
	eventually(t, time.Minute, "deletion of the expired backup", func() error {
		return checkGone[velerov1.Backup](t, velero.Namespace, "expiry-short")
	})
	wantSnapshots(t, ns.name, kept)
	deleteBackup(t, "expiry-kept")
	wantSnapshots(t, ns.name)
}

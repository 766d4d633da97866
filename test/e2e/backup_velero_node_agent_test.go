// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"strings"
	"testing"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"

	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
)

// sharedPolicy gives claims to restic, as the base policy does, and every emptyDir to Velero's own node-agent.
const sharedPolicy = `
apiVersion: v1
kind: ConfigMap
metadata: {name: beside-policy, namespace: velero}
data:
  policies.yaml: |
    version: v1
    volumePolicies:
    - conditions: {pvcLabels: {restic.velero.io/backup: "true"}}
      action: {type: custom}
    - conditions: {volumeTypes: [emptyDir]}
      action: {type: fs-backup}
`

// TestBackupBesideVeleroNodeAgent has Velero's own file-system backup beside ours. It is not parallel: with a node-agent, Velero takes
// what it would else refuse.
func TestBackupBesideVeleroNodeAgent(t *testing.T) {
	needsNode(t)
	if err := velero.Install(t.Context(), suite.node, velero.Options{NodeAgent: true}, t.Output()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		kubectl(t, "-n", velero.Namespace, "delete", "daemonset", "node-agent", "--timeout=60s")
	})
	ns := newNamespace(t, "beside", 2)
	apply(t, sharedPolicy, ns.claim("data"),
		ns.pod("web", "data,cache", claimVolume("data"), emptyDir("cache"), emptyDir("scratch")))
	ns.waitReady("web")
	ns.shell("web", "for v in data cache scratch; do echo content of $v > /$v/file; done")

	t.Run("with the base policy restic takes what is annotated, and Velero nothing", func(t *testing.T) {
		wantCompleted(t, backUp(t, "beside-base", "--include-namespaces=beside"))
		wantBackedUp(t, "beside-base", "web/data", "web/cache")
		wantTakenByVelero(t, "beside-base")
	})
	t.Run("with a policy for both each takes its own, once", func(t *testing.T) {
		backup := backUp(t, "beside-split", "--include-namespaces=beside",
			"--resource-policies-configmap=beside-policy")
		if backup.Status.Phase != velerov1.BackupPhaseCompleted {
			t.Errorf("the backup is %s, want Completed", backup.Status.Phase)
		}
		wantBackedUp(t, "beside-split", "web/data")
		wantTakenByVelero(t, "beside-split", "web/cache", "web/scratch")
		wantContains(t, "velero backup logs", strings.Join(warningsAndErrors(t, "backup", "beside-split"), "\n"),
			"volume cache of pod beside/web is left to Velero's node-agent", "action fs-backup", "uploader: restic")
	})
	ns.delete()
	wantRestored(t, restore(t, "beside", "beside-split"))
	ns.waitReady("web")
	got := ns.shell("web", "cat /data/file /cache/file /scratch/file")
	if want := "content of data\ncontent of cache\ncontent of scratch\n"; got != want {
		t.Errorf("the volumes hold %q, want %q", got, want)
	}
}

// wantTakenByVelero checks that Velero's node-agent has taken exactly these volumes, as POD/VOLUME, once each.
func wantTakenByVelero(t *testing.T, backup string, volumes ...string) {
	t.Helper()
	list := get[velerov1.PodVolumeBackupList](t, "-n", velero.Namespace, "podvolumebackups.velero.io",
		"-l", "velero.io/backup-name="+backup)
	taken := map[string]bool{}
	for _, item := range list.Items {
		taken[item.Spec.Pod.Name+"/"+item.Spec.Volume] = item.Status.Phase == velerov1.PodVolumeBackupPhaseCompleted
	}
	for _, volume := range volumes {
		if !taken[volume] {
			t.Errorf("Velero has not taken %s in backup %s", volume, backup)
		}
	}
	if len(list.Items) != len(volumes) {
		t.Errorf("Velero has taken %d volumes in backup %s, want %d: %v", len(list.Items), backup, len(volumes), taken)
	}
}

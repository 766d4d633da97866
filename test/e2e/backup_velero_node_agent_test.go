// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"strings"
	"testing"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"

	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
)

// sharedPolicy gives claims to restic, as the base policy does, and every emptyDir to Velero's node-agent.
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

// TestBackupBesideVeleroNodeAgent runs Velero's own file-system backup beside that of this project.
func TestBackupBesideVeleroNodeAgent(t *testing.T) {
	needsNode(t)
	reserveCluster(t)
	if err := velero.Install(t.Context(), clusterOf(t).node, velero.Options{NodeAgent: true}, t.Output()); err != nil {
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

	t.Run("with the base policy, restic backs up annotated volumes and Velero none", func(t *testing.T) {
		wantCompleted(t, backUp(t, "beside-base", "--include-namespaces=beside"))
		wantBackedUp(t, "beside-base", "web/data", "web/cache")
		wantTakenByVelero(t, "beside-base")
	})
	t.Run("with a policy for both, each backs up its own volumes once", func(t *testing.T) {
		backup := backUp(t, "beside-split", "--include-namespaces=beside",
			"--resource-policies-configmap=beside-policy")
		wantPhase(t, backup, velerov1.BackupPhaseCompleted)
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

// wantTakenByVelero wants Velero's node-agent to have backed up exactly these volumes, as POD/VOLUME, once each.
func wantTakenByVelero(t *testing.T, backup string, volumes ...string) {
	t.Helper()
	found := list[velerov1.PodVolumeBackupList](t, inVelero(), ofBackup(backup)).Items
	taken := map[string]bool{}
	for _, item := range found {
		taken[item.Spec.Pod.Name+"/"+item.Spec.Volume] = item.Status.Phase == velerov1.PodVolumeBackupPhaseCompleted
	}
	for _, volume := range volumes {
		if !taken[volume] {
			t.Errorf("Velero has not backed up %s in backup %s", volume, backup)
		}
	}
	if len(found) != len(volumes) {
		t.Errorf("Velero has backed up %d volumes in backup %s, want %d: %v", len(found), backup, len(volumes), taken)
	}
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
)

// patchDaemonSet changes the DaemonSet as an administrator would.
func patchDaemonSet(t *testing.T, patch string) {
	t.Helper()
	kubectl(t, "-n", velero.Namespace, "patch", "ds/"+contract.DaemonSetName, "--type=json", "-p", patch)
}

func waitAgents(t *testing.T) {
	t.Helper()
	kubectl(t, "-n", velero.Namespace, "rollout", "status", "ds/"+contract.DaemonSetName, "--timeout=90s")
}

// TestBackupWithoutAgent backs up on a node that the agent is kept away from. It is not parallel: there is no agent for
// anybody.
func TestBackupWithoutAgent(t *testing.T) {
	const agentless = 200 * time.Second // stranded.AbsentGrace, and the time until Velero's next poll
	ns := newNamespace(t, "agentless", 0)
	apply(t, ns.pod("web", "cache", emptyDir("cache")))
	ns.waitReady("web")
	node := get[corev1.Pod](t, "-n", ns.name, "pod", "web").Spec.NodeName
	patchDaemonSet(t, `[{"op":"add","path":"/spec/template/spec/nodeSelector","value":{"no-such-label":"true"}}]`)
	t.Cleanup(func() {
		patchDaemonSet(t, `[{"op":"remove","path":"/spec/template/spec/nodeSelector"}]`)
		waitAgents(t)
	})
	kubectl(t, "-n", velero.Namespace, "wait", "pod", "-l", "name=restic", "--for=delete", "--timeout=60s")

	veleroCLI(t, "backup", "create", "agentless", "--include-namespaces=agentless")
	backup := waitBackup(t, "agentless", agentless)
	if backup.Status.Phase != velerov1.BackupPhasePartiallyFailed {
		t.Errorf("the backup is %s, want PartiallyFailed", backup.Status.Phase)
	}
	says := []string{
		"node " + node + " has no restic agent", "DaemonSet velero/restic", "kubectl -n velero get pods -l name=restic",
	}
	status := podVolumeBackups(t, "agentless")["web/cache"].Status
	if status.Phase != resticv1.PhaseFailed {
		t.Errorf("the PodVolumeBackup is %q, want Failed", status.Phase)
	}
	wantContains(t, "the PodVolumeBackup", status.Message, says...)
	details := veleroCLI(t, "backup", "describe", "agentless", "--details")
	wantContains(t, "velero backup describe --details", details, append(says, "pod agentless/web", "cache: Failed")...)
}

// TestBackupWithoutPassword backs up while there is no password for a new repository. It is not parallel: there is none
// for anybody.
func TestBackupWithoutPassword(t *testing.T) {
	ns := newNamespace(t, "locked", 0)
	apply(t, ns.pod("web", "cache", emptyDir("cache")))
	ns.waitReady("web")
	ns.shell("web", "echo content > /cache/file")
	deleteSecret(t, contract.PasswordSecret)
	const command = "kubectl -n velero create secret generic velero-restic-credentials " +
		`--from-literal=repository-password="$(openssl rand -base64 32)"`
	const warning = "no backup can ever be read again"

	veleroCLI(t, "backup", "create", "locked", "--include-namespaces=locked")
	// What is left is the password that Velero makes for every installation.
	ns.waitRepositoryNotReady("the password that every Velero has by default", command, warning)
	eventually(t, 15*time.Second, "the reason in velero backup describe --details", func() error {
		if details := veleroCLI(t, "backup", "describe", "locked", "--details"); !strings.Contains(details, command) {
			return fmt.Errorf("it says:\n%s", details)
		}
		return nil
	})
	deleteSecret(t, contract.PasswordSecretLegacy)
	ns.waitRepositoryNotReady("there is no password for the restic repositories", command, warning)

	backup := waitBackup(t, "locked", operationLimit)
	if backup.Status.Phase != velerov1.BackupPhasePartiallyFailed {
		t.Errorf("the backup is %s, want PartiallyFailed", backup.Status.Phase)
	}
	wantContains(t, "the PodVolumeBackup", podVolumeBackups(t, "locked")["web/cache"].Status.Message, command, warning)
	wantContains(t, "velero backup describe --details",
		veleroCLI(t, "backup", "describe", "locked", "--details"), "pod locked/web", "cache: Failed", command)

	// What the message says to do mends it.
	kubectl(t, "-n", velero.Namespace, "create", "secret", "generic", contract.PasswordSecret,
		"--from-literal="+contract.PasswordSecretKey+"=a password for this test alone")
	wantCompleted(t, backUp(t, "unlocked", "--include-namespaces=locked"))
	wantBackedUp(t, "unlocked", "web/cache")
	ns.checkRestoreWithoutData(t, "locked")
}

// checkRestoreWithoutData restores a backup whose one volume has failed: the pod comes, without its data, and that is said.
func (ns *testNamespace) checkRestoreWithoutData(t *testing.T, backup string) {
	t.Helper()
	ns.delete()
	result := restore(t, backup, backup)
	ns.waitReady("web")
	if got := ns.shell("web", "ls -A /cache"); got != "" {
		t.Errorf("the volume holds %q, want nothing", got)
	}
	says := []string{
		"volume cache of pod " + ns.name + "/web is not restored", "PodVolumeBackup " + backup, "is Failed",
	}
	if result.Status.Phase != velerov1.RestorePhaseCompleted {
		t.Errorf("the restore is %s, want Completed with a warning", result.Status.Phase)
	}
	wantContains(t, "velero restore logs", strings.Join(warningsAndErrors(t, "restore", backup), "\n"), says...)
	details := veleroCLI(t, "restore", "describe", backup, "--details")
	wantContains(t, "velero restore describe --details", details, append(says, "cache: Skipped, ")...)
}

// deleteSecret deletes a Secret, and puts it back when the test is over.
func deleteSecret(t *testing.T, name string) {
	t.Helper()
	secret := get[corev1.Secret](t, "-n", velero.Namespace, "secret", name)
	secret.TypeMeta = typeMeta("v1", "Secret")
	secret.ObjectMeta = metav1.ObjectMeta{Name: name, Namespace: velero.Namespace, Labels: secret.Labels}
	t.Cleanup(func() {
		kubectl(t, "-n", velero.Namespace, "delete", "secret", name, "--ignore-not-found")
		apply(t, &secret)
	})
	kubectl(t, "-n", velero.Namespace, "delete", "secret", name)
}

// waitRepositoryNotReady waits until the namespace's repository says all of this.
func (ns *testNamespace) waitRepositoryNotReady(says ...string) {
	ns.t.Helper()
	eventually(ns.t, 30*time.Second, "reason of the repository", func() error {
		list, err := tryGet[resticv1.ResticRepositoryList](ns.t, "-n", velero.Namespace,
			"resticrepositories.restic.velero.io", "-l", "velero.io/volume-namespace="+ns.name)
		if err != nil || len(list.Items) != 1 {
			return fmt.Errorf("there are %d repositories, error %w", len(list.Items), err)
		}
		status := list.Items[0].Status
		for _, part := range says {
			if status.Phase != resticv1.RepositoryNotReady || !strings.Contains(status.Message, part) {
				return fmt.Errorf("it is %q, and does not say %q: %s", status.Phase, part, status.Message)
			}
		}
		return nil
	})
}

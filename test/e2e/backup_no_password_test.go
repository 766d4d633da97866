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
	"sigs.k8s.io/controller-runtime/pkg/client"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
)

// TestBackupWithoutPassword backs up while there is no password for a new repository, and then does what the message
// says.
func TestBackupWithoutPassword(t *testing.T) {
	reserveCluster(t)
	ns := newNamespace(t, "locked", 0)
	apply(t, ns.pod("web", "cache", emptyDir("cache")))
	ns.waitReady("web")
	ns.shell("web", "echo content > /cache/file")
	deleteSecret(t, contract.PasswordSecret)
	const command = "kubectl -n velero create secret generic velero-restic-credentials " +
		`--from-literal=repository-password="$(openssl rand -base64 32)"`
	const warning = "no backup can ever be read again"

	veleroCLI(t, "backup", "create", "locked", "--include-namespaces=locked")
	// The Secret with the well-known password, which Velero creates for every installation, still exists.
	ns.waitRepositoryNotReady("the password that every Velero has by default", command, warning)
	eventually(t, 15*time.Second, "the reason in velero backup describe --details", func() error {
		if details := veleroCLI(t, "backup", "describe", "locked", "--details"); !strings.Contains(details, command) {
			return fmt.Errorf("the output is:\n%s", details)
		}
		return nil
	})
	deleteSecret(t, contract.PasswordSecretLegacy)
	ns.waitRepositoryNotReady("there is no password for the restic repositories", command, warning)

	wantPhase(t, waitBackup(t, "locked", operationLimit), velerov1.BackupPhasePartiallyFailed)
	wantContains(t, "the PodVolumeBackup", podVolumeBackups(t, "locked")["web/cache"].Status.Message, command, warning)
	wantContains(t, "velero backup describe --details",
		veleroCLI(t, "backup", "describe", "locked", "--details"), "pod locked/web", "cache: Failed", command)

	// Do what the message says.
	kubectl(t, "-n", velero.Namespace, "create", "secret", "generic", contract.PasswordSecret,
		"--from-literal="+contract.PasswordSecretKey+"=a password for this test")
	wantCompleted(t, backUp(t, "unlocked", "--include-namespaces=locked"))
	wantBackedUp(t, "unlocked", "web/cache")
	ns.checkRestoreWithoutData(t, "locked")
}

// checkRestoreWithoutData restores a backup whose only volume has failed: the pod is restored without its data, with a
// warning.
func (ns *testNamespace) checkRestoreWithoutData(t *testing.T, backup string) {
	t.Helper()
	ns.delete()
	result := restore(t, backup, backup)
	ns.waitReady("web")
	if got := ns.shell("web", "ls -A /cache"); got != "" {
		t.Errorf("the volume holds %q, want nothing", got)
	}
	message := []string{
		"volume cache of pod " + ns.name + "/web is not restored", "PodVolumeBackup " + backup, "is Failed",
	}
	if result.Status.Phase != velerov1.RestorePhaseCompleted {
		t.Errorf("the restore is %s, want Completed with a warning", result.Status.Phase)
	}
	wantContains(t, "velero restore logs", strings.Join(warningsAndErrors(t, "restore", backup), "\n"), message...)
	details := veleroCLI(t, "restore", "describe", backup, "--details")
	wantContains(t, "velero restore describe --details", details, append(message, "cache: Skipped, ")...)
}

// deleteSecret deletes a Secret until the test ends.
func deleteSecret(t *testing.T, name string) {
	t.Helper()
	secret := get[corev1.Secret](t, velero.Namespace, name)
	secret.TypeMeta = typeMeta("v1", "Secret")
	secret.ObjectMeta = metav1.ObjectMeta{Name: name, Namespace: velero.Namespace, Labels: secret.Labels}
	t.Cleanup(func() {
		kubectl(t, "-n", velero.Namespace, "delete", "secret", name, "--ignore-not-found")
		apply(t, &secret)
	})
	kubectl(t, "-n", velero.Namespace, "delete", "secret", name)
}

// waitRepositoryNotReady waits until the namespace's repository is NotReady with a message that has all the parts.
func (ns *testNamespace) waitRepositoryNotReady(parts ...string) {
	ns.t.Helper()
	eventually(ns.t, 30*time.Second, "message of the repository", func() error {
		found, err := tryList[resticv1.ResticRepositoryList](ns.t, inVelero(),
			client.MatchingLabels{contract.LabelVolumeNamespace: ns.name})
		if err != nil || len(found.Items) != 1 {
			return fmt.Errorf("there are %d repositories, error %w", len(found.Items), err)
		}
		status := found.Items[0].Status
		for _, part := range parts {
			if status.Phase != resticv1.RepositoryNotReady || !strings.Contains(status.Message, part) {
				return fmt.Errorf("it is %q, without %q in its message: %s", status.Phase, part, status.Message)
			}
		}
		return nil
	})
}

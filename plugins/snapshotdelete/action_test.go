// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package snapshotdelete

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	"github.com/vmware-tanzu/velero/pkg/plugin/velero"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/plugins/internal/cluster"
	"github.com/velero-restic/velero-plugin-for-restic/plugins/internal/cluster/clustertest"
)

func object(change func(*resticv1.PodVolumeBackup)) *resticv1.PodVolumeBackup {
	out := &resticv1.PodVolumeBackup{
		TypeMeta: metav1.TypeMeta{APIVersion: "restic.velero.io/v1", Kind: "PodVolumeBackup"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: clustertest.Velero, Name: "nightly-1", UID: "uid",
			Labels: map[string]string{contract.LabelBackupUID: "backup-uid"},
			OwnerReferences: []metav1.OwnerReference{
				{APIVersion: "velero.io/v1", Kind: "Backup", Name: "nightly", UID: "backup-uid"},
				{APIVersion: "v1", Kind: "ConfigMap", Name: "somebody-else", UID: "x"},
			},
		},
		Spec: resticv1.PodVolumeBackupSpec{
			Pod: corev1.ObjectReference{Namespace: "app", Name: "web"}, Volume: "data",
			BackupStorageLocation: "default", Repository: contract.RepositoryName("app", "default"),
			Tags: map[string]string{"volume": "data"},
		},
		Status: resticv1.PodVolumeBackupStatus{
			VolumeStatus: resticv1.VolumeStatus{Phase: resticv1.PhaseCompleted}, SnapshotID: "abc123",
		},
	}
	if change != nil {
		change(out)
	}
	return out
}

func execute(t *testing.T, c *cluster.Cluster, copied *resticv1.PodVolumeBackup) error {
	t.Helper()
	var action velero.DeleteItemAction = New(logrus.New(), c)
	return action.Execute(&velero.DeleteItemActionExecuteInput{
		Item: clustertest.Unstructured(t, copied), Backup: clustertest.Backup(),
	})
}

func TestExecute(t *testing.T) {
	other := []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "somebody-else", UID: "x"}}
	for name, test := range map[string]struct {
		live       *resticv1.PodVolumeBackup
		copied     *resticv1.PodVolumeBackup
		owners     []metav1.OwnerReference
		snapshotID string
		cancel     bool
	}{
		"an object that is there is asked to be forgotten": {
			live: object(nil), copied: object(nil), owners: other, snapshotID: "abc123",
		},
		"one that is still at work is stopped": {
			live: object(func(o *resticv1.PodVolumeBackup) {
				o.Status = resticv1.PodVolumeBackupStatus{VolumeStatus: resticv1.VolumeStatus{Phase: resticv1.PhaseInProgress}}
			}),
			copied: object(func(o *resticv1.PodVolumeBackup) { o.Status = resticv1.PodVolumeBackupStatus{} }),
			owners: other, cancel: true,
		},
		"one that lost its status has it from the backup's copy": {
			live: object(func(o *resticv1.PodVolumeBackup) {
				o.Status = resticv1.PodVolumeBackupStatus{VolumeStatus: resticv1.VolumeStatus{Phase: resticv1.PhaseFailed}}
			}),
			copied: object(nil), owners: other, snapshotID: "abc123",
		},
		"one that the cluster has lost comes back, into Velero's namespace of today": {
			copied: object(func(o *resticv1.PodVolumeBackup) { o.Namespace = "velero-of-old" }), snapshotID: "abc123",
			cancel: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var objects []client.Object
			if test.live != nil {
				objects = append(objects, test.live)
			}
			c := clustertest.New(t, interceptor.Funcs{}, objects...)
			for range 2 { // Velero may repeat a deletion
				if err := execute(t, c, test.copied); err != nil {
					t.Fatal(err)
				}
			}
			var got resticv1.PodVolumeBackup
			if err := c.Get(clustertest.Velero, "nightly-1", &got); err != nil {
				t.Fatal(err)
			}
			want := object(nil)
			want.Spec.Forget, want.Spec.Cancel, want.Spec.SnapshotID = true, test.cancel, test.snapshotID
			if diff := cmp.Diff(want.Spec, got.Spec); diff != "" {
				t.Errorf("spec differs (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{contract.FinalizerForget}, got.Finalizers); diff != "" {
				t.Errorf("finalizers differ (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.owners, got.OwnerReferences); diff != "" {
				t.Errorf("owners differ (-want +got):\n%s", diff)
			}
			// One would have the leader make a repository that nobody needs.
			var repositories resticv1.ResticRepositoryList
			if err := c.Client.List(t.Context(), &repositories); err != nil || len(repositories.Items) != 0 {
				t.Errorf("there are %d ResticRepositories, error %v, want none", len(repositories.Items), err)
			}
		})
	}
}

func TestExecuteWithoutData(t *testing.T) {
	skipped := object(func(o *resticv1.PodVolumeBackup) { o.Spec.Skip = &resticv1.SkipReason{Reason: "HostPath"} })
	for name, objects := range map[string][]client.Object{"there": {skipped}, "gone": nil} {
		c := clustertest.New(t, interceptor.Funcs{}, objects...)
		if err := execute(t, c, skipped); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var list resticv1.PodVolumeBackupList
		if err := c.Client.List(t.Context(), &list); err != nil || len(list.Items) != 0 {
			t.Errorf("%s: %d objects are left, error %v", name, len(list.Items), err)
		}
	}
}

func TestExecuteAgainstOthers(t *testing.T) {
	resource := schema.GroupResource{Resource: "podvolumebackups"}
	for name, test := range map[string]struct {
		answers []error
		want    string
	}{
		"a change in between is no error": {answers: []error{apierrors.NewConflict(resource, "nightly-1", errors.New("newer"))}},
		"a refusal is told":               {answers: []error{apierrors.NewForbidden(resource, "nightly-1", errors.New("no role"))}, want: "no role"},
	} {
		t.Run(name, func(t *testing.T) {
			calls := interceptor.Funcs{Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch,
				options ...client.PatchOption,
			) error {
				if len(test.answers) > 0 {
					answer := test.answers[0]
					test.answers = test.answers[1:]
					return answer
				}
				return c.Patch(ctx, o, p, options...)
			}}
			err := execute(t, clustertest.New(t, calls, object(nil)), object(nil))
			if test.want == "" && err != nil {
				t.Errorf("error %v, want none", err)
			}
			if test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) ||
				!strings.Contains(err.Error(), "velero-ns/nightly-1")) {
				t.Errorf("error is %v, want %q and the object in it", err, test.want)
			}
		})
	}
}

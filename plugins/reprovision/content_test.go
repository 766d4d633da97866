// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package reprovision

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	"github.com/vmware-tanzu/velero/pkg/plugin/velero"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/plugins/internal/cluster/clustertest"
)

// contentOf is the restore of the claim data through a pod in a namespace, as part of a restore of Velero.
func contentOf(namespace, restoreUID string) *resticv1.PodVolumeRestore {
	return &resticv1.PodVolumeRestore{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: clustertest.Velero, Name: "back-1", Labels: map[string]string{contract.LabelRestoreUID: restoreUID},
		},
		Spec: resticv1.PodVolumeRestoreSpec{Pod: corev1.ObjectReference{Namespace: namespace, Name: "web"}, PVC: "data"},
	}
}

func TestContentOfRestoredClaims(t *testing.T) {
	const missing = "PersistentVolumeClaim copy/data is restored without its content"
	for name, test := range map[string]struct {
		objects []client.Object
		err     string
	}{
		"a pod comes with it":           {objects: []client.Object{contentOf("copy", "restore-uid")}},
		"no pod does":                   {err: missing},
		"a pod of another restore does": {objects: []client.Object{contentOf("copy", "other-uid")}, err: missing},
		"a pod elsewhere does":          {objects: []client.Object{contentOf("app", "restore-uid")}, err: missing},
	} {
		t.Run(name, func(t *testing.T) {
			action := NewRestoreAction(logrus.New(), clustertest.New(t, interceptor.Funcs{}, test.objects...))
			claim, _ := clustertest.Claim("data", nil)
			claim.Annotations = map[string]string{contract.AnnotationReprovision: "nightly"}
			item := clustertest.Unstructured(t, claim)
			into := restore(map[string]string{"app": "copy"})
			output, err := action.Execute(&velero.RestoreItemActionExecuteInput{
				Item: item, ItemFromBackup: item.DeepCopy(), Restore: into,
			})
			if err != nil || output.OperationID != "copy/data" {
				t.Fatalf("operation is %q with error %v, want copy/data", output.OperationID, err)
			}
			progress, err := action.Progress(output.OperationID, into)
			if err != nil || !progress.Completed || !strings.HasPrefix(progress.Err, test.err) ||
				(test.err == "") != (progress.Err == "") {
				t.Errorf("progress is %+v with error %v, want it completed with error %q", progress, err, test.err)
			}
			if progress.Description == "" {
				t.Error("there is no description for velero restore describe")
			}
		})
	}
}

func TestContentCannotBeAskedFor(t *testing.T) {
	fails := interceptor.Funcs{List: func(
		context.Context, client.WithWatch, client.ObjectList, ...client.ListOption,
	) error {
		return errors.New("no quorum")
	}}
	progress, err := NewRestoreAction(logrus.New(), clustertest.New(t, fails)).Progress("app/data", restore(nil))
	if err != nil || progress.Completed || !strings.Contains(progress.Description, "no quorum") {
		t.Errorf("progress is %+v with error %v, want it open, telling why", progress, err)
	}
}

func TestNoOperationForClaimsThatKeepTheirVolume(t *testing.T) {
	live, _ := clustertest.Claim("data", nil)
	for name, test := range map[string]struct {
		marked  bool
		objects []client.Object
	}{
		"restic has not taken it": {},
		"it is there":             {marked: true, objects: []client.Object{live}},
	} {
		t.Run(name, func(t *testing.T) {
			claim, _ := clustertest.Claim("data", nil)
			if test.marked {
				claim.Annotations = map[string]string{contract.AnnotationReprovision: "nightly"}
			}
			item := clustertest.Unstructured(t, claim)
			output, err := NewRestoreAction(logrus.New(), clustertest.New(t, interceptor.Funcs{}, test.objects...)).Execute(
				&velero.RestoreItemActionExecuteInput{Item: item, ItemFromBackup: item.DeepCopy(), Restore: restore(nil)})
			if err != nil || output.OperationID != "" {
				t.Errorf("operation is %q with error %v, want none", output.OperationID, err)
			}
		})
	}
}

func TestRestoreOfEphemeralVolumes(t *testing.T) {
	for name, marked := range map[string]bool{"a marked claim is left to Kubernetes": true, "another is restored": false} {
		t.Run(name, func(t *testing.T) {
			claim, _ := clustertest.Claim("web-scratch", nil)
			claim.OwnerReferences = []metav1.OwnerReference{{
				APIVersion: "v1", Kind: "Pod", Name: "web", UID: "uid-of-pod-web", Controller: ptr.To(true),
			}}
			if marked {
				claim.Annotations = map[string]string{contract.AnnotationReprovision: "nightly"}
			}
			item := clustertest.Unstructured(t, claim)
			output, err := NewRestoreAction(logrus.New(), clustertest.New(t, interceptor.Funcs{})).Execute(
				&velero.RestoreItemActionExecuteInput{Item: item, ItemFromBackup: item.DeepCopy(), Restore: restore(nil)})
			if err != nil || output.SkipRestore != marked || output.OperationID != "" {
				t.Errorf("SkipRestore is %t, operation %q, error %v, want %t and no operation",
					output.SkipRestore, output.OperationID, err, marked)
			}
		})
	}
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package reprovision

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	"github.com/vmware-tanzu/velero/pkg/plugin/velero"
	biav2 "github.com/vmware-tanzu/velero/pkg/plugin/velero/backupitemaction/v2"
	riav2 "github.com/vmware-tanzu/velero/pkg/plugin/velero/restoreitemaction/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/plugins/internal/cluster/clustertest"
)

func claimed() map[string]string { return map[string]string{contract.LabelClaimed: "true"} }

// byPolicy has the backup's volume policies ask for local volumes.
func byPolicy() *corev1.ConfigMap {
	policy := clustertest.Policy()
	policy.Data["policy.yaml"] = "version: v1\nvolumePolicies:\n- conditions: {volumeTypes: [local]}\n" +
		"  action: {type: custom, parameters: {uploader: restic}}\n"
	return policy
}

// noPolicy has them say nothing of claims.
func noPolicy() *corev1.ConfigMap {
	policy := clustertest.Policy()
	policy.Data["policy.yaml"] = "version: v1\nvolumePolicies:\n- conditions: {volumeTypes: [nfs]}\n" +
		"  action: {type: custom}\n"
	return policy
}

func TestBackup(t *testing.T) {
	pod := func(change func(*corev1.Pod)) *corev1.Pod {
		pod := clustertest.Pod("web", [2]string{"data-volume", "data"})
		if change != nil {
			change(pod)
		}
		return pod
	}
	for name, test := range map[string]struct {
		labels map[string]string // of the claim in the cluster; Velero's copy has none
		pod    *corev1.Pod
		others []client.Object
		want   bool
	}{
		"a claim that a volume policy selects, without the label": {
			pod: pod(func(p *corev1.Pod) { p.Annotations = nil }), others: []client.Object{byPolicy()}, want: true,
		},
		"a claim that a rule selects": {
			labels: claimed(), pod: pod(func(p *corev1.Pod) { p.Annotations = nil }),
			others: []client.Object{clustertest.Rules("r", "rules: [{name: all, action: include}]")}, want: true,
		},
		"a claim that a rule selects and Velero takes": {
			pod: pod(nil), others: []client.Object{clustertest.Rules("r", "rules: [{name: all, action: include}]")},
		},
		"a claim that a rule selects, where no policy knows the label": {
			pod: pod(func(p *corev1.Pod) { p.Annotations = nil }), want: true,
			others: []client.Object{noPolicy(), clustertest.Rules("r", "rules: [{name: all, action: include}]")},
		},
		"a claim whose pod is left out for another volume's sake": {
			labels: claimed(), want: false,
			pod: pod(func(p *corev1.Pod) {
				p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "inline", VolumeSource: corev1.VolumeSource{
					CSI: &corev1.CSIVolumeSource{Driver: "inline.example.com"},
				}})
				p.Spec.Containers[0].VolumeMounts = append(p.Spec.Containers[0].VolumeMounts,
					corev1.VolumeMount{Name: "inline", MountPath: "/inline"})
				p.Annotations[contract.AnnotationVolumesToBackup] += ",inline"
			}),
		},
		"a claim that is taken":                                {labels: claimed(), pod: pod(nil), want: true},
		"a claim that is Velero's, although it is asked for":   {pod: pod(nil)},
		"a claim that carries the label for another backup":    {labels: claimed(), pod: pod(func(p *corev1.Pod) { p.Annotations = nil })},
		"a claim that carries the label without any pod":       {labels: claimed()},
		"a claim that is asked for by a pod that does not run": {labels: claimed(), pod: pod(func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded })},
		"a claim whose pod is left out of the backup":          {labels: claimed(), pod: pod(func(p *corev1.Pod) { p.Labels = map[string]string{contract.LabelExcludeFromBackup: "true"} })},
	} {
		t.Run(name, func(t *testing.T) {
			claim, volume := clustertest.Claim("data", test.labels)
			objects := append([]client.Object{claim, volume}, test.others...)
			if !slices.ContainsFunc(objects, func(o client.Object) bool { return o.GetName() == "policy" }) {
				objects = append(objects, clustertest.Policy())
			}
			if test.pod != nil {
				objects = append(objects, test.pod)
			}
			var action biav2.BackupItemAction = NewBackupAction(logrus.New(), clustertest.New(t, interceptor.Funcs{}, objects...))
			seenClaim, seenVolume := clustertest.Claim("data", nil)
			for _, seen := range []client.Object{seenClaim, seenVolume} {
				seen.SetLabels(map[string]string{contract.LabelClaimed: "true", "app": "web"})
				seen.SetAnnotations(map[string]string{contract.AnnotationReprovision: "an earlier backup", "keep": "me"})
				item, additional, id, after, err := action.Execute(clustertest.Unstructured(t, seen), clustertest.Backup())
				if err != nil || additional != nil || id != "" || after != nil {
					t.Fatalf("got additional items %v, operation %q, items after it %v, error %v", additional, id, after, err)
				}
				got := unstructured.Unstructured{Object: item.UnstructuredContent()}
				want := map[string]string{"keep": "me"}
				if test.want {
					want[contract.AnnotationReprovision] = "nightly"
				}
				if diff := cmp.Diff(want, got.GetAnnotations()); diff != "" {
					t.Errorf("annotations of the %s differ (-want +got):\n%s", got.GetKind(), diff)
				}
				if diff := cmp.Diff(map[string]string{"app": "web"}, got.GetLabels()); diff != "" {
					t.Errorf("labels of the %s differ (-want +got):\n%s", got.GetKind(), diff)
				}
			}
		})
	}
}

// TestBackupWithoutSnapshots has Velero be able to make snapshots: of a volume that restic takes it must not, and the
// claim must stay.
func TestBackupWithoutSnapshots(t *testing.T) {
	claim, volume := clustertest.Claim("data", claimed())
	other, otherVolume := clustertest.Claim("other", nil)
	c := clustertest.New(t, interceptor.Funcs{}, clustertest.Policy(), claim, volume, other, otherVolume,
		clustertest.Pod("web", [2]string{"data-volume", "data"}))
	backup := clustertest.Backup()
	backup.Spec.VolumeSnapshotLocations = []string{"default"}
	for item, want := range map[client.Object]bool{claim: false, volume: true, other: false, otherVolume: false} {
		got, _, _, _, err := NewBackupAction(logrus.New(), c).Execute(clustertest.Unstructured(t, item), backup)
		if err != nil {
			t.Fatal(err)
		}
		annotations := (&unstructured.Unstructured{Object: got.UnstructuredContent()}).GetAnnotations()
		if _, skipped := annotations[velerov1.SkipFromBackupAnnotation]; skipped != want {
			t.Errorf("%T %s is left out: %t, want %t", item, item.GetName(), skipped, want)
		}
		name, _, _ := unstructured.NestedString(got.UnstructuredContent(), "spec", "volumeName")
		if _, isClaim := item.(*corev1.PersistentVolumeClaim); isClaim && (name == "") != (item.GetName() == "data") {
			t.Errorf("claim %s is in the backup with volume %q", item.GetName(), name)
		}
	}
}

// TestBackupOfOtherNamespaces has a backup of another namespace come upon the volume of a claim that carries the label
// for a backup of its own.
func TestBackupOfOtherNamespaces(t *testing.T) {
	claim, volume := clustertest.Claim("data", claimed())
	c := clustertest.New(t, interceptor.Funcs{}, clustertest.Policy(), claim, volume,
		clustertest.Pod("web", [2]string{"data-volume", "data"}))
	for included, want := range map[string]bool{"app": true, "a*": true, "other": false} {
		backup := clustertest.Backup()
		backup.UID, backup.Spec.IncludedNamespaces = types.UID(included), []string{included}
		item, _, _, _, err := NewBackupAction(logrus.New(), c).Execute(clustertest.Unstructured(t, volume), backup)
		if err != nil {
			t.Fatal(err)
		}
		annotations := (&unstructured.Unstructured{Object: item.UnstructuredContent()}).GetAnnotations()
		if _, marked := annotations[contract.AnnotationReprovision]; marked != want {
			t.Errorf("in a backup of %s the volume is marked: %t, want %t", included, marked, want)
		}
	}
}

func TestBackupOfLooseVolumes(t *testing.T) {
	_, volume := clustertest.Claim("data", nil)
	action := NewBackupAction(logrus.New(), clustertest.New(t, interceptor.Funcs{}))
	for name, reference := range map[string]*corev1.ObjectReference{
		"without a claim":          nil,
		"of a claim that has gone": {Namespace: "app", Name: "gone"},
	} {
		volume.Spec.ClaimRef = reference
		item, _, _, _, err := action.Execute(clustertest.Unstructured(t, volume), clustertest.Backup())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(clustertest.Unstructured(t, volume).Object, item.UnstructuredContent()); diff != "" {
			t.Errorf("a volume %s was changed (-want +got):\n%s", name, diff)
		}
	}
}

func restore(mapping map[string]string) *velerov1.Restore {
	return &velerov1.Restore{
		ObjectMeta: metav1.ObjectMeta{Namespace: clustertest.Velero, Name: "back", UID: "restore-uid"},
		Spec:       velerov1.RestoreSpec{BackupName: "nightly", NamespaceMapping: mapping},
	}
}

func TestRestore(t *testing.T) {
	binding := map[string]string{
		"pv.kubernetes.io/bind-completed": "yes", "pv.kubernetes.io/bound-by-controller": "yes",
		"volume.kubernetes.io/selected-node": "node-1", "keep": "me",
	}
	marked := map[string]string{contract.AnnotationReprovision: "nightly"}
	maps.Copy(marked, binding)
	live, _ := clustertest.Claim("data", claimed())
	for name, test := range map[string]struct {
		annotations map[string]string
		nameless    bool // as in a backup that has no volumes
		mapping     map[string]string
		objects     []client.Object
		volumeName  string
		want        map[string]string
		label       string
	}{
		"a marked claim is unbound": {annotations: marked, want: map[string]string{"keep": "me"}},
		"an unmarked one stays":     {annotations: binding, volumeName: "pv-data", want: binding},
		"one that exists stays, with its label": {
			annotations: marked, objects: []client.Object{live}, volumeName: "pv-data", want: binding, label: "true",
		},
		"one that exists keeps its volume, though the backup has none": {
			annotations: marked, nameless: true, objects: []client.Object{live}, volumeName: "pv-data", want: binding, label: "true",
		},
		"one without a volume is unbound all the same": {annotations: marked, nameless: true, want: map[string]string{"keep": "me"}},
		"one that exists in the namespace that it is mapped from is unbound": {
			annotations: marked, objects: []client.Object{live}, mapping: map[string]string{"app": "copy"},
			want: map[string]string{"keep": "me"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			claim, _ := clustertest.Claim("data", nil)
			claim.Annotations = test.annotations
			if test.nameless {
				claim.Spec.VolumeName = ""
			}
			item := clustertest.Unstructured(t, claim)
			var action riav2.RestoreItemAction = NewRestoreAction(logrus.New(),
				clustertest.New(t, interceptor.Funcs{}, test.objects...))
			output, err := action.Execute(&velero.RestoreItemActionExecuteInput{
				Item: item, ItemFromBackup: item.DeepCopy(), Restore: restore(test.mapping),
			})
			if err != nil || output.SkipRestore {
				t.Fatalf("output is %+v with error %v, want the claim restored", output, err)
			}
			got := unstructured.Unstructured{Object: output.UpdatedItem.UnstructuredContent()}
			volumeName, _, _ := unstructured.NestedString(got.Object, "spec", "volumeName")
			if volumeName != test.volumeName {
				t.Errorf("spec.volumeName is %q, want %q", volumeName, test.volumeName)
			}
			if diff := cmp.Diff(test.want, got.GetAnnotations()); diff != "" {
				t.Errorf("annotations differ (-want +got):\n%s", diff)
			}
			if label := got.GetLabels()[contract.LabelClaimed]; label != test.label {
				t.Errorf("label is %q, want %q", label, test.label)
			}
		})
	}
}

func TestRestoreOfVolumes(t *testing.T) {
	for name, marked := range map[string]bool{"a marked volume is left out": true, "another is restored": false} {
		t.Run(name, func(t *testing.T) {
			_, volume := clustertest.Claim("data", nil)
			if marked {
				volume.Annotations = map[string]string{contract.AnnotationReprovision: "nightly"}
			}
			item := clustertest.Unstructured(t, volume)
			output, err := NewRestoreAction(logrus.New(), clustertest.New(t, interceptor.Funcs{})).Execute(
				&velero.RestoreItemActionExecuteInput{Item: item, ItemFromBackup: item.DeepCopy(), Restore: restore(nil)})
			if err != nil || output.SkipRestore != marked {
				t.Errorf("SkipRestore is %t with error %v, want %t", output.SkipRestore, err, marked)
			}
		})
	}
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package hostpath

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const podUID = "0b1f1c1e-7d3c-4f4e-9d5a-000000000001"

func podWith(name string, source corev1.VolumeSource) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: types.UID(podUID)},
		Spec:       corev1.PodSpec{Volumes: []corev1.Volume{{Name: name, VolumeSource: source}}},
	}
}

func emptyDir(medium corev1.StorageMedium) Volume {
	return Volume{Name: "data", Pod: podWith("data",
		corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: medium}})}
}

func claim(pv corev1.PersistentVolumeSource, mode corev1.PersistentVolumeMode) Volume {
	return Volume{
		Name: "data",
		Pod: podWith("data", corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data-web-0"},
		}),
		PVC: &corev1.PersistentVolumeClaim{
			ObjectMeta: metav1.ObjectMeta{Name: "data-web-0"},
			Spec:       corev1.PersistentVolumeClaimSpec{VolumeName: "pvc-1", VolumeMode: &mode},
		},
		PV: &corev1.PersistentVolume{Spec: corev1.PersistentVolumeSpec{PersistentVolumeSource: pv}},
	}
}

func csiClaim() Volume {
	return claim(corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{}},
		corev1.PersistentVolumeFilesystem)
}

func TestFind(t *testing.T) {
	inlineCSI := Volume{Name: "data", Pod: podWith("data", corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{}})}
	inlineNFS := Volume{Name: "data", Pod: podWith("data", corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{}})}
	ephemeral := csiClaim()
	ephemeral.Pod = podWith("data", corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}})
	migrated := claim(corev1.PersistentVolumeSource{AWSElasticBlockStore: &corev1.AWSElasticBlockStoreVolumeSource{}},
		corev1.PersistentVolumeFilesystem)
	nfs := claim(corev1.PersistentVolumeSource{NFS: &corev1.NFSVolumeSource{}}, corev1.PersistentVolumeFilesystem)
	cases := map[string]struct {
		volume Volume
		dirs   []string
		want   string
	}{
		"emptyDir": {
			emptyDir(""),
			[]string{"kubernetes.io~empty-dir/data", "kubernetes.io~projected/token"},
			"kubernetes.io~empty-dir/data",
		},
		"emptyDir whose content looks like a CSI volume": {
			emptyDir(""),
			[]string{"kubernetes.io~empty-dir/data/mount"},
			"kubernetes.io~empty-dir/data",
		},
		"a CSI claim":        {csiClaim(), []string{"kubernetes.io~csi/pvc-1/mount"}, "kubernetes.io~csi/pvc-1/mount"},
		"an ephemeral claim": {ephemeral, []string{"kubernetes.io~csi/pvc-1/mount"}, "kubernetes.io~csi/pvc-1/mount"},
		"an inline CSI volume": {
			inlineCSI,
			[]string{"kubernetes.io~csi/data/mount"},
			"kubernetes.io~csi/data/mount",
		},
		"a claim of a former kind that CSI has taken over": {
			migrated,
			[]string{"kubernetes.io~csi/pvc-1/mount"},
			"kubernetes.io~csi/pvc-1/mount",
		},
		"inline NFS":   {inlineNFS, []string{"kubernetes.io~nfs/data"}, "kubernetes.io~nfs/data"},
		"NFS":          {nfs, []string{"kubernetes.io~nfs/pvc-1"}, "kubernetes.io~nfs/pvc-1"},
		"a FlexVolume": {nfs, []string{"example.com~driver/pvc-1"}, "example.com~driver/pvc-1"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			volumes := filepath.Join(root, podUID, "volumes")
			makeDirs(t, volumes, c.dirs...)
			got, err := Finder{Root: root, mounted: always}.Find(c.volume)
			if want := filepath.Join(volumes, c.want); err != nil || got != want {
				t.Errorf("got %q, %v\nwant %q", got, err, want)
			}
		})
	}
}

func always(string) (bool, error) { return true, nil }

func makeDirs(t *testing.T, base string, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		if err := os.MkdirAll(filepath.Join(base, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFindRefuses(t *testing.T) {
	hostPathClaim := claim(corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{}},
		corev1.PersistentVolumeFilesystem)
	unbound := csiClaim()
	unbound.PVC.Spec.VolumeName = ""
	unknown := csiClaim()
	unknown.PVC, unknown.PV = nil, nil
	planted := csiClaim()
	planted.PVC.Spec.VolumeName = "../../../etc"
	cases := map[string]struct {
		volume Volume
		dirs   []string
		want   error
		says   string
	}{
		"a block volume": {
			claim(corev1.PersistentVolumeSource{}, corev1.PersistentVolumeBlock), nil, ErrUnsupported, "block device",
		},
		"hostPath": {
			Volume{Name: "data", Pod: podWith("data", corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{}})},
			nil, ErrUnsupported, "hostPath",
		},
		"hostPath through a claim":    {hostPathClaim, nil, ErrUnsupported, "hostPath"},
		"a volume that is not there":  {Volume{Name: "other", Pod: emptyDir("").Pod}, nil, nil, `no volume "other"`},
		"a claim that is not bound":   {unbound, nil, ErrNotMounted, "data-web-0 is not bound"},
		"a claim that is not known":   {unknown, nil, nil, "claim is not known"},
		"a name that leads elsewhere": {planted, nil, nil, "no name of a directory"},
		"a pod without volumes yet":   {csiClaim(), nil, ErrNotMounted, podUID + "/volumes/*/pvc-1"},
		"a volume that the kubelet has not begun": {
			csiClaim(),
			[]string{"kubernetes.io~empty-dir/other"},
			ErrNotMounted, "hostPath to <the kubelet's root directory>/pods",
		},
		"a CSI volume that the kubelet has begun": {
			csiClaim(), []string{"kubernetes.io~csi/pvc-1"}, ErrNotMounted, "there is no",
		},
		"a CSI volume whose mount is not seen": {
			csiClaim(),
			[]string{"kubernetes.io~csi/pvc-1/mount"},
			ErrNotMounted, "mountPropagation: HostToContainer",
		},
		"an emptyDir in memory whose mount is not seen": {
			emptyDir(corev1.StorageMediumMemory),
			[]string{"kubernetes.io~empty-dir/data"},
			ErrNotMounted, "nothing is mounted",
		},
		"two candidates": {
			emptyDir(""), []string{"kubernetes.io~empty-dir/data", "kubernetes.io~csi/data"}, nil, "matches 2",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			makeDirs(t, filepath.Join(root, podUID, "volumes"), c.dirs...)
			got, err := Finder{Root: root}.Find(c.volume)
			if err == nil || !strings.Contains(err.Error(), c.says) || (c.want != nil && !errors.Is(err, c.want)) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestFindFollowsNoLink(t *testing.T) {
	for _, link := range []string{
		"", "volumes", "volumes/kubernetes.io~csi", "volumes/kubernetes.io~csi/pvc-1",
		"volumes/kubernetes.io~csi/pvc-1/mount",
	} {
		t.Run("at "+link, func(t *testing.T) {
			root, elsewhere := t.TempDir(), t.TempDir()
			rest := strings.TrimPrefix(strings.TrimPrefix("volumes/kubernetes.io~csi/pvc-1/mount", link), "/")
			makeDirs(t, elsewhere, rest)
			at := filepath.Join(root, podUID, link)
			makeDirs(t, filepath.Dir(at), "")
			if err := os.Symlink(elsewhere, at); err != nil {
				t.Fatal(err)
			}
			if got, err := (Finder{Root: root, mounted: always}).Find(csiClaim()); err == nil {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestFindWithoutARoot(t *testing.T) {
	_, err := Finder{Root: filepath.Join(t.TempDir(), "x")}.Find(csiClaim())
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "host-pods") {
		t.Errorf("got %v", err)
	}
}

func TestDirectoryName(t *testing.T) {
	for name, c := range map[string]struct {
		volume Volume
		dir    string
		mount  bool
	}{
		"emptyDir":    {emptyDir(""), "data", false},
		"a CSI claim": {csiClaim(), "pvc-1", true},
		"a local claim": {claim(corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{}},
			corev1.PersistentVolumeFilesystem), "pvc-1", false},
	} {
		t.Run(name, func(t *testing.T) {
			if dir, mount, err := DirectoryName(c.volume); err != nil || dir != c.dir || mount != c.mount {
				t.Errorf("got %q, %v, %v", dir, mount, err)
			}
		})
	}
}

func TestPodVolumesRootOK(t *testing.T) {
	root := t.TempDir()
	makeDirs(t, root, podUID)
	finder := Finder{Root: root}
	if err := finder.PodVolumesRootOK([]string{"another", podUID}); err != nil {
		t.Error(err)
	}
	if err := finder.PodVolumesRootOK(nil); err != nil {
		t.Error(err)
	}
	err := finder.PodVolumesRootOK([]string{"another", "..", ""})
	if err == nil || !strings.Contains(err.Error(), "none of the 3 pods") ||
		!strings.Contains(err.Error(), "host-pods") {
		t.Errorf("got %v", err)
	}
	if err := (Finder{Root: filepath.Join(root, "x")}).PodVolumesRootOK(nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestMountPoint(t *testing.T) {
	if mounted, err := mountPoint("/proc"); err != nil || !mounted {
		t.Errorf("/proc: got %v, %v", mounted, err)
	}
	if mounted, err := mountPoint(t.TempDir()); err != nil || mounted {
		t.Errorf("a plain directory: got %v, %v", mounted, err)
	}
}

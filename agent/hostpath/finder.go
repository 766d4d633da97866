// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package hostpath finds the directory of a pod's volume on this node, and works in it without trusting its content.
package hostpath

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

var (
	// ErrNotMounted says that the volume's directory is not there, or nothing is mounted on it. It may come yet.
	ErrNotMounted = errors.New("the volume is not mounted on this node")
	// ErrUnsupported says that restic cannot take a volume of this kind.
	ErrUnsupported = errors.New("the volume has no directory of its own")
)

// Finder finds volumes below the directory where the kubelet keeps its pods.
type Finder struct {
	// Root is that directory as this process sees it, such as /host_pods.
	Root string

	// mounted replaces mountPoint in tests, whose volumes are mere directories.
	mounted func(path string) (bool, error)

	// Mounts and Label replace, in tests, this process's mount table and the label that the node's security module has
	// given it.
	Mounts func() ([]byte, error)
	Label  func() string
}

// Volume is a volume of a pod.
type Volume struct {
	Pod *corev1.Pod
	// Name is the volume's name in the pod.
	Name string
	// PVC and PV are the claim behind it and what the claim is bound to; nil for a volume that is no claim's.
	PVC *corev1.PersistentVolumeClaim
	PV  *corev1.PersistentVolume
}

// The kubelet's layout of a pod's directory (Kubernetes v1.36, pkg/kubelet/config/defaults.go and
// pkg/volume/csi/csi_plugin.go): <pod UID>/volumes/<plugin>/<directory>, with the plugin's name escaped, and for CSI
// a folder "mount" in the directory, beside the kubelet's own notes.
const (
	volumesDir  = "volumes"
	pluginCSI   = "kubernetes.io~csi"
	csiMountDir = "mount"
)

// alwaysMounts says whether the kubelet's plugin always mounts something on the volume's directory. If there is
// nothing, the directory is that of the node's own disk: a backup would take nothing and a restore would fill the disk.
func alwaysMounts(plugin string) bool {
	switch plugin {
	case pluginCSI, "kubernetes.io~nfs", "kubernetes.io~local-volume", "kubernetes.io~iscsi", "kubernetes.io~fc",
		"kubernetes.io~rbd", "kubernetes.io~cephfs", "kubernetes.io~glusterfs", "kubernetes.io~aws-ebs",
		"kubernetes.io~azure-disk", "kubernetes.io~azure-file", "kubernetes.io~gce-pd", "kubernetes.io~cinder",
		"kubernetes.io~vsphere-volume", "kubernetes.io~portworx-volume":
		return true
	}
	return false
}

// Find returns the path of the volume's root directory. It fails with ErrNotMounted or ErrUnsupported, or when there
// are several candidates; the errors say what to do.
func (f Finder) Find(volume Volume) (string, error) {
	dir, _, err := DirectoryName(volume)
	if err != nil {
		return "", err
	}
	uid := string(volume.Pod.UID)
	if !safeName(uid) {
		return "", fmt.Errorf("finding a volume of pod %s: its UID %q is not a name", podName(volume.Pod), uid)
	}
	root, err := f.open()
	if err != nil {
		return "", err
	}
	defer func() { _ = root.Close() }() // read only: nothing can be lost
	found, err := candidates(root, path.Join(uid, volumesDir), dir)
	if err != nil {
		return "", fmt.Errorf("looking for volume %q of pod %s: %w", volume.Name, podName(volume.Pod), f.explain(err))
	}
	pattern := filepath.Join(f.Root, uid, volumesDir, "*", dir)
	switch len(found) {
	case 0:
		return "", fmt.Errorf("volume %q of pod %s: %w: there is no %s. Either the kubelet has not mounted it yet, or "+
			"no container of the pod mounts it, or %s",
			volume.Name, podName(volume.Pod), ErrNotMounted, pattern, rootRemedy)
	case 1:
		return f.content(volume, root, found[0])
	}
	return "", fmt.Errorf("volume %q of pod %s: %s matches %d directories, which cannot be told apart: %s",
		volume.Name, podName(volume.Pod), pattern, len(found), strings.Join(found, ", "))
}

// open opens the root. Its error says what to do.
func (f Finder) open() (*os.Root, error) {
	root, err := os.OpenRoot(f.Root)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("opening the kubelet's directory of pods: %w", f.explain(err))
	}
	if err != nil {
		return nil, fmt.Errorf("opening the kubelet's directory of pods: %w: %s", err, rootRemedy)
	}
	return root, nil
}

// rootRemedy is what to do when Finder.Root is not what it should be.
const rootRemedy = "the volume host-pods of the DaemonSet restic is not the kubelet's directory of pods: set its " +
	"hostPath to <the kubelet's root directory>/pods, which is /var/lib/kubelet/pods unless the kubelet runs with " +
	"another --root-dir, and keep mountPropagation: HostToContainer on its mount"

// candidates returns the paths below the root of the real directories of this name, one for each plugin that has one.
// Every step is a real directory, too: the kubelet makes no links there.
func candidates(root *os.Root, volumes, dir string) ([]string, error) {
	for _, step := range []string{path.Dir(volumes), volumes} {
		if real, err := permittedDir(root, step); !real || err != nil {
			return nil, err
		}
	}
	plugins, err := fs.ReadDir(root.FS(), volumes)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, plugin := range plugins {
		candidate := path.Join(volumes, plugin.Name(), dir)
		real, err := permittedDir(root, candidate)
		if err != nil {
			return nil, err
		}
		if plugin.IsDir() && real {
			found = append(found, candidate)
		}
	}
	return found, nil
}

// content returns the directory with the volume's content, given the kubelet's directory of the volume.
func (f Finder) content(volume Volume, root *os.Root, found string) (string, error) {
	plugin := path.Base(path.Dir(found))
	if plugin == pluginCSI {
		found = path.Join(found, csiMountDir)
		real, err := permittedDir(root, found)
		if err != nil {
			return "", fmt.Errorf("volume %q of pod %s: %w", volume.Name, podName(volume.Pod), f.explain(err))
		}
		if !real {
			return "", fmt.Errorf("volume %q of pod %s: %w: there is no %s yet", volume.Name, podName(volume.Pod),
				ErrNotMounted, filepath.Join(f.Root, found))
		}
	}
	full := filepath.Join(f.Root, found)
	if !alwaysMounts(plugin) && !inMemory(volume) {
		return full, nil
	}
	isMountPoint := f.mounted
	if isMountPoint == nil {
		isMountPoint = mountPoint
	}
	mounted, err := isMountPoint(full)
	if err != nil {
		return "", fmt.Errorf("volume %q of pod %s: asking whether %s is mounted: %w", volume.Name, podName(volume.Pod),
			full, err)
	}
	if !mounted {
		return "", fmt.Errorf("volume %q of pod %s: %w: nothing is mounted on %s here. Either the kubelet is about "+
			"to, or the agent does not see its mounts: keep mountPropagation: HostToContainer on the mount of "+
			"host-pods in the DaemonSet restic", volume.Name, podName(volume.Pod), ErrNotMounted, full)
	}
	return full, nil
}

// DirectoryName returns the name of the directory that the kubelet makes for the volume. mountSubdir says that it is
// a CSI volume as far as the objects tell, whose content is in the folder "mount" of it; Find looks for itself. It
// fails with ErrUnsupported for block and hostPath volumes.
func DirectoryName(volume Volume) (dir string, mountSubdir bool, err error) {
	if volume.Pod == nil {
		return "", false, fmt.Errorf("finding volume %q: no pod", volume.Name)
	}
	source := sourceOf(volume.Pod, volume.Name)
	switch {
	case source == nil:
		return "", false, fmt.Errorf("pod %s has no volume %q", podName(volume.Pod), volume.Name)
	case blockDevice(volume):
		return "", false, fmt.Errorf("volume %q of pod %s is a block device: %w: restic takes files; leave it to "+
			"snapshots", volume.Name, podName(volume.Pod), ErrUnsupported)
	case source.HostPath != nil || (volume.PV != nil && volume.PV.Spec.HostPath != nil):
		return "", false, fmt.Errorf("volume %q of pod %s is a directory of the node (hostPath): %w: "+
			"restic does not take it", volume.Name, podName(volume.Pod), ErrUnsupported)
	}
	if source.PersistentVolumeClaim != nil || source.Ephemeral != nil {
		dir, mountSubdir, err = claimDirectory(volume)
	} else {
		// Also an inline CSI volume is in a directory of its own name in the pod.
		dir, mountSubdir = volume.Name, source.CSI != nil
	}
	if err == nil && !safeName(dir) {
		err = fmt.Errorf("volume %q of pod %s: %q is no name of a directory", volume.Name, podName(volume.Pod), dir)
	}
	return dir, mountSubdir, err
}

// claimDirectory returns the directory of a claim's volume, which has the name of the PersistentVolume.
func claimDirectory(volume Volume) (dir string, mountSubdir bool, err error) {
	switch {
	case volume.PVC == nil:
		return "", false, fmt.Errorf("volume %q of pod %s: its claim is not known", volume.Name, podName(volume.Pod))
	case volume.PVC.Spec.VolumeName == "":
		return "", false, fmt.Errorf("volume %q of pod %s: %w: its claim %s is not bound",
			volume.Name, podName(volume.Pod), ErrNotMounted, volume.PVC.Name)
	}
	return volume.PVC.Spec.VolumeName, volume.PV != nil && volume.PV.Spec.CSI != nil, nil
}

// PodVolumesRootOK returns nil if the root is the kubelet's directory of pods: if it has that of at least one of the
// pods, which are to be pods that run on this node. Without any pod it only makes sure that the root can be read.
func (f Finder) PodVolumesRootOK(podUIDs []string) error {
	root, err := f.open()
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }() // read only: nothing can be lost
	for _, uid := range podUIDs {
		if !safeName(uid) {
			continue
		}
		real, err := permittedDir(root, uid)
		if err != nil {
			return fmt.Errorf("looking for a pod of this node: %w", f.explain(err))
		}
		if real {
			return nil
		}
	}
	if len(podUIDs) == 0 {
		if _, err := fs.ReadDir(root.FS(), "."); err != nil {
			return fmt.Errorf("reading the kubelet's directory of pods: %w", f.explain(err))
		}
		return nil
	}
	return fmt.Errorf("%s has none of the %d pods that run on this node: %s", f.Root, len(podUIDs), rootRemedy)
}

// blockDevice says whether the pod gets the volume as a device.
func blockDevice(volume Volume) bool {
	if volume.PVC != nil && volume.PVC.Spec.VolumeMode != nil {
		return *volume.PVC.Spec.VolumeMode == corev1.PersistentVolumeBlock
	}
	if volume.PV != nil && volume.PV.Spec.VolumeMode != nil {
		return *volume.PV.Spec.VolumeMode == corev1.PersistentVolumeBlock
	}
	return false
}

// inMemory says whether the volume is an emptyDir that is mounted, unlike those on the node's disk.
func inMemory(volume Volume) bool {
	source := sourceOf(volume.Pod, volume.Name)
	return source != nil && source.EmptyDir != nil && source.EmptyDir.Medium != corev1.StorageMediumDefault
}

func sourceOf(pod *corev1.Pod, name string) *corev1.VolumeSource {
	for i := range pod.Spec.Volumes {
		if pod.Spec.Volumes[i].Name == name {
			return &pod.Spec.Volumes[i].VolumeSource
		}
	}
	return nil
}

// permittedDir is realDir with an error where that may not even be asked: fs.ErrPermission.
func permittedDir(root *os.Root, path string) (bool, error) {
	info, err := root.Lstat(path)
	if errors.Is(err, fs.ErrPermission) {
		return false, err
	}
	return err == nil && info.IsDir(), nil
}

// realDir says whether the path is a directory, and not a link to one.
func realDir(root *os.Root, path string) bool {
	info, err := root.Lstat(path)
	return err == nil && info.IsDir()
}

// safeName says whether the name is that of one entry of a directory.
func safeName(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00")
}

func podName(pod *corev1.Pod) string { return pod.Namespace + "/" + pod.Name }

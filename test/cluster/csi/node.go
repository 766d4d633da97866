// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

type identity struct {
	csi.UnimplementedIdentityServer
}

// GetPluginInfo implements the CSI service Identity.
func (identity) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: driverName, VendorVersion: "1"}, nil
}

// GetPluginCapabilities implements the CSI service Identity.
func (identity) GetPluginCapabilities(
	context.Context, *csi.GetPluginCapabilitiesRequest,
) (*csi.GetPluginCapabilitiesResponse, error) {
	return &csi.GetPluginCapabilitiesResponse{}, nil
}

// Probe implements the CSI service Identity.
func (identity) Probe(context.Context, *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	return &csi.ProbeResponse{Ready: wrapperspb.Bool(true)}, nil
}

// nodeServer mounts volumes. The directory of an inline volume exists only while the volume is mounted.
type nodeServer struct {
	csi.UnimplementedNodeServer
	node, folder string
}

// inlineKey is the key that the kubelet sets for inline volumes of pods (Kubernetes v1.36,
// pkg/volume/csi/csi_mounter.go).
const inlineKey = "csi.storage.k8s.io/ephemeral"

// inlineFolder is the directory of inline volumes.
const inlineFolder = "inline"

// NodeGetInfo implements the CSI service Node.
func (n *nodeServer) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{NodeId: n.node}, nil
}

// NodeGetCapabilities implements the CSI service Node.
func (n *nodeServer) NodeGetCapabilities(
	context.Context, *csi.NodeGetCapabilitiesRequest,
) (*csi.NodeGetCapabilitiesResponse, error) {
	return &csi.NodeGetCapabilitiesResponse{}, nil
}

// NodePublishVolume bind-mounts the directory of the volume to the target.
func (n *nodeServer) NodePublishVolume(
	_ context.Context, request *csi.NodePublishVolumeRequest,
) (*csi.NodePublishVolumeResponse, error) {
	source := filepath.Join(n.folder, filepath.Base(request.GetVolumeId()))
	if request.GetVolumeContext()[inlineKey] == "true" {
		source = filepath.Join(n.folder, inlineFolder, filepath.Base(request.GetVolumeId()))
		if err := os.MkdirAll(source, 0o777); err != nil {
			return nil, status.Error(codes.Internal, err.Error())
		}
	}
	if err := bind(source, request.GetTargetPath(), request.GetReadonly()); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &csi.NodePublishVolumeResponse{}, nil
}

// bind replaces an existing mount at the target.
func bind(source, target string, readOnly bool) error {
	if err := os.MkdirAll(target, 0o750); err != nil {
		return err
	}
	if err := unbind(target); err != nil {
		return err
	}
	return mountTree(source, target, readOnly)
}

// mountTree mounts in one step. If a mount became read-only later, its propagated copies would stay writable.
func mountTree(source, target string, readOnly bool) error {
	tree, err := unix.OpenTree(unix.AT_FDCWD, source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return &os.PathError{Op: "clone", Path: source, Err: err}
	}
	defer func() { _ = unix.Close(tree) }() // the mount stays
	if readOnly {
		attributes := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
		if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, attributes); err != nil {
			return &os.PathError{Op: "make read-only", Path: source, Err: err}
		}
	}
	err = unix.MoveMount(tree, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH)
	if err != nil {
		return &os.PathError{Op: "mount " + source, Path: target, Err: err}
	}
	return nil
}

// unbind unmounts the target. It ignores EINVAL, which means that nothing is mounted.
func unbind(target string) error {
	err := unix.Unmount(target, unix.MNT_DETACH)
	if err == nil || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return &os.PathError{Op: "unmount", Path: target, Err: err}
}

// NodeUnpublishVolume unmounts the volume from the target.
func (n *nodeServer) NodeUnpublishVolume(
	_ context.Context, request *csi.NodeUnpublishVolumeRequest,
) (*csi.NodeUnpublishVolumeResponse, error) {
	err := unbind(request.GetTargetPath())
	if err == nil {
		err = os.RemoveAll(request.GetTargetPath())
	}
	if err == nil {
		err = os.RemoveAll(filepath.Join(n.folder, inlineFolder, filepath.Base(request.GetVolumeId())))
	}
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &csi.NodeUnpublishVolumeResponse{}, nil
}

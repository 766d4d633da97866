// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	// interval is the time between two runs. Listing is cheap, because a test cluster has few claims and volumes.
	interval = 300 * time.Millisecond
	// timeout limits one run.
	timeout = 30 * time.Second
)

// Annotations that Kubernetes and its provisioners use (Kubernetes v1.36,
// staging/src/k8s.io/component-helpers/storage/volume/pv_helpers.go).
const (
	annotationProvisioner  = "volume.kubernetes.io/storage-provisioner"
	annotationSelectedNode = "volume.kubernetes.io/selected-node"
	annotationProvisioned  = "pv.kubernetes.io/provisioned-by"
)

// provisioner creates volumes for the claims of this driver's storage classes, and deletes released volumes.
type provisioner struct {
	client kubernetes.Interface
	folder string
}

func newProvisioner(kubeconfig, folder string) (*provisioner, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("creating a client: %w", err)
	}
	return &provisioner{client: client, folder: folder}, nil
}

// createDriver creates the CSIDriver, so that volumes need no attachment and may be inline.
func (p *provisioner) createDriver(ctx context.Context) error {
	// Only with PodInfoOnMount does the kubelet also report that a volume is inline.
	attach, podInfo, group := false, true, storagev1.FileFSGroupPolicy
	driver := &storagev1.CSIDriver{
		ObjectMeta: metav1.ObjectMeta{Name: driverName},
		Spec: storagev1.CSIDriverSpec{
			AttachRequired: &attach, PodInfoOnMount: &podInfo, FSGroupPolicy: &group,
			VolumeLifecycleModes: []storagev1.VolumeLifecycleMode{
				storagev1.VolumeLifecyclePersistent, storagev1.VolumeLifecycleEphemeral,
			},
		},
	}
	_, err := p.client.StorageV1().CSIDrivers().Create(ctx, driver, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("creating the CSIDriver: %w", err)
	}
	return nil
}

// run provides and removes volumes until the context ends. It prints errors and tries again.
func (p *provisioner) run(ctx context.Context) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		cycle, cancel := context.WithTimeout(ctx, timeout)
		err := errors.Join(p.provide(cycle), p.remove(cycle))
		cancel()
		if err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "csi:", err)
		}
	}
}

func (p *provisioner) provide(ctx context.Context) error {
	claims, err := p.client.CoreV1().PersistentVolumeClaims("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing claims: %w", err)
	}
	var problems []error
	for i := range claims.Items {
		claim := &claims.Items[i]
		if claim.Status.Phase != corev1.ClaimPending || claim.Spec.VolumeName != "" || claim.DeletionTimestamp != nil ||
			claim.Annotations[annotationProvisioner] != driverName {
			continue
		}
		if err := p.provideFor(ctx, claim); err != nil {
			problems = append(problems, fmt.Errorf("providing for claim %s/%s: %w", claim.Namespace, claim.Name, err))
		}
	}
	return errors.Join(problems...)
}

func (p *provisioner) provideFor(ctx context.Context, claim *corev1.PersistentVolumeClaim) error {
	class, err := p.client.StorageV1().StorageClasses().Get(ctx, *claim.Spec.StorageClassName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	waits := class.VolumeBindingMode != nil && *class.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer
	if waits && claim.Annotations[annotationSelectedNode] == "" {
		return nil
	}
	name := "pvc-" + string(claim.UID)
	// Every user can write to a new volume, as with fsGroup on most drivers.
	if err := os.MkdirAll(filepath.Join(p.folder, name), 0o777); err != nil {
		return err
	}
	volume := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{annotationProvisioned: driverName}},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:    corev1.ResourceList(claim.Spec.Resources.Requests),
			AccessModes: claim.Spec.AccessModes, StorageClassName: class.Name,
			PersistentVolumeReclaimPolicy: *class.ReclaimPolicy,
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				CSI: &corev1.CSIPersistentVolumeSource{Driver: driverName, VolumeHandle: name},
			},
			ClaimRef: &corev1.ObjectReference{
				Kind: "PersistentVolumeClaim", APIVersion: "v1",
				Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
			},
		},
	}
	_, err = p.client.CoreV1().PersistentVolumes().Create(ctx, volume, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func (p *provisioner) remove(ctx context.Context) error {
	volumes, err := p.client.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing volumes: %w", err)
	}
	var problems []error
	for i := range volumes.Items {
		volume := &volumes.Items[i]
		if volume.Annotations[annotationProvisioned] != driverName || volume.Status.Phase != corev1.VolumeReleased ||
			volume.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete {
			continue
		}
		err := p.client.CoreV1().PersistentVolumes().Delete(ctx, volume.Name, metav1.DeleteOptions{})
		if err == nil || apierrors.IsNotFound(err) {
			err = os.RemoveAll(filepath.Join(p.folder, filepath.Base(volume.Name)))
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("removing volume %s: %w", volume.Name, err))
		}
	}
	return errors.Join(problems...)
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

import (
	"context"
	"fmt"
	"maps"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/version"
)

// buildRetry is how soon the writing of a buildNote that has failed is tried again.
const buildRetry = 10 * time.Second

// buildNote says once, in a Lease of this agent's pod, which build the agent is, so that people learn it from the API
// server without the right to reach into pods. A Lease, since the agents may write those, and nothing about their own
// pods: whoever may change a pod of that namespace may run what he likes in it.
type buildNote struct {
	client    kubernetes.Interface
	namespace string
	pod, node string
}

var _ manager.Runnable = &buildNote{}

func addBuildNote(mgr manager.Manager, config *rest.Config, options *Options) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("preparing to say which build this is: %w", err)
	}
	note := &buildNote{client: client, namespace: options.Namespace, pod: options.Pod, node: options.Node}
	if err := mgr.Add(note); err != nil {
		return fmt.Errorf("preparing to say which build this is: %w", err)
	}
	return nil
}

// Start implements manager.Runnable. It tries for as long as that can be of use, and never fails: the work of this
// agent does not depend on it.
func (b *buildNote) Start(ctx context.Context) error {
	for b.again(ctx) {
		select {
		case <-ctx.Done():
		case <-time.After(buildRetry):
		}
	}
	return nil
}

// again writes the Lease, and says whether to do it once more.
func (b *buildNote) again(ctx context.Context) bool {
	err := b.write(ctx)
	if err == nil || ctx.Err() != nil {
		return false
	}
	ctrl.Log.Error(err, "Saying which build this is")
	return !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err) && !apierrors.IsInvalid(err)
}

func (b *buildNote) write(ctx context.Context) error {
	pod, err := b.client.CoreV1().Pods(b.namespace).Get(ctx, b.pod, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading this agent's pod %s/%s: %w", b.namespace, b.pod, err)
	}
	leases := b.client.CoordinationV1().Leases(b.namespace)
	lease, err := leases.Get(ctx, b.pod, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		lease = &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: b.pod}}
		b.fill(lease, pod)
		_, err = leases.Create(ctx, lease, metav1.CreateOptions{})
	} else if err == nil {
		b.fill(lease, pod)
		_, err = leases.Update(ctx, lease, metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("writing Lease %s/%s: %w", b.namespace, b.pod, err)
	}
	return nil
}

// fill puts into the Lease what this process knows. Its owner is the pod, with which it goes.
func (b *buildNote) fill(lease *coordinationv1.Lease, pod *corev1.Pod) {
	if lease.Labels == nil {
		lease.Labels = map[string]string{}
	}
	if lease.Annotations == nil {
		lease.Annotations = map[string]string{}
	}
	maps.Copy(lease.Labels, map[string]string{contract.LabelAgent: "true", contract.LabelExcludeFromBackup: "true"})
	maps.Copy(lease.Annotations, map[string]string{
		contract.AnnotationVersion: version.Version, contract.AnnotationResticVersion: version.Restic,
	})
	lease.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: corev1.SchemeGroupVersion.String(), Kind: "Pod", Name: pod.Name, UID: pod.UID,
	}}
	lease.Spec.HolderIdentity = ptr.To(b.node)
	lease.Spec.AcquireTime = ptr.To(metav1.NewMicroTime(time.Now()))
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package build publishes which build an agent is.
package build

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

// retryInterval is how soon writing the Lease is retried after a failure.
const retryInterval = 10 * time.Second

// Publisher writes once, into a Lease named after this agent's pod, which build the agent is. People then learn it from
// the API server without permission to exec into pods. It is a Lease because agents may write Leases but not their own
// pods: who may change a pod of that namespace may run anything in it.
type Publisher struct {
	client    kubernetes.Interface
	namespace string
	pod, node string
}

var _ manager.Runnable = &Publisher{}

// NewPublisher returns the Publisher of the agent in this pod, on this node.
func NewPublisher(config *rest.Config, namespace, pod, node string) (*Publisher, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("preparing to say which build this is: %w", err)
	}
	return &Publisher{client: client, namespace: namespace, pod: pod, node: node}, nil
}

// Start implements manager.Runnable. It tries for as long as that can be of use, and never fails: the work of this
// agent does not depend on it.
func (p *Publisher) Start(ctx context.Context) error {
	for p.retry(ctx) {
		select {
		case <-ctx.Done():
		case <-time.After(retryInterval):
		}
	}
	return nil
}

// retry writes the Lease, and returns whether to try again.
func (p *Publisher) retry(ctx context.Context) bool {
	err := p.write(ctx)
	if err == nil || ctx.Err() != nil {
		return false
	}
	ctrl.Log.Error(err, "Saying which build this is")
	return !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err) && !apierrors.IsInvalid(err)
}

// An agent publishes its version in a Lease that its pod owns.
//
// +kubebuilder:rbac:groups="",resources=pods,verbs=get
// +kubebuilder:rbac:groups=coordination.k8s.io,resources=leases,verbs=get;create;update,namespace=velero

func (p *Publisher) write(ctx context.Context) error {
	pod, err := p.client.CoreV1().Pods(p.namespace).Get(ctx, p.pod, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading this agent's pod %s/%s: %w", p.namespace, p.pod, err)
	}
	leases := p.client.CoordinationV1().Leases(p.namespace)
	lease, err := leases.Get(ctx, p.pod, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		lease = &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: p.namespace, Name: p.pod}}
		p.fill(lease, pod)
		_, err = leases.Create(ctx, lease, metav1.CreateOptions{})
	} else if err == nil {
		p.fill(lease, pod)
		_, err = leases.Update(ctx, lease, metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("writing Lease %s/%s: %w", p.namespace, p.pod, err)
	}
	return nil
}

// fill puts into the Lease what this process knows. Its owner is the pod, with which it goes.
func (p *Publisher) fill(lease *coordinationv1.Lease, pod *corev1.Pod) {
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
	lease.Spec.HolderIdentity = ptr.To(p.node)
	lease.Spec.AcquireTime = ptr.To(metav1.NewMicroTime(time.Now()))
}

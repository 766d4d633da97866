// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package leader

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// The Lease's times are those of Kubernetes' own controllers (k8s.io/component-base, config/v1alpha1).
const (
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	retryPeriod   = 2 * time.Second
)

// election is one agent's part in finding the one that leads.
type election struct {
	client    kubernetes.Interface
	namespace string
	// identity is the name of the agent's node.
	identity string
	// lead does the leader's work until its context ends. It never runs twice at a time. When it returns before, the
	// agent gives the lead up, so that another one can try.
	lead func(ctx context.Context) error
	// pause is how long to stand back after that.
	pause time.Duration
}

// run takes part until the context ends.
func (e *election) run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := e.ensureLease(ctx); err != nil && ctx.Err() == nil {
			ctrl.Log.Error(err, "Preparing the Lease")
		}
		pause, err := e.term(ctx)
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	return nil
}

// A Lease elects the leader.
//
// +kubebuilder:rbac:groups=coordination.k8s.io,resources=leases,verbs=get;create;update,namespace=velero

// term waits for the lead and keeps it for as long as it can. It returns how long to wait for the next one.
func (e *election) term(ctx context.Context) (time.Duration, error) {
	term, resign := context.WithCancel(ctx)
	defer resign()
	pause, ended := retryPeriod, make(chan struct{})
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: e.namespace, Name: contract.LeaderLeaseName},
			Client:     e.client.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: e.identity},
		},
		LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod,
		ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) {
				defer close(ended)
				// The elector would renew the Lease of a leader that does nothing, for ever.
				defer resign()
				if err := e.lead(ctx); err != nil && ctx.Err() == nil {
					// It is not the node role's: that goes on.
					ctrl.Log.Error(err, "Leading")
					pause = e.pause
				}
			},
			OnStoppedLeading: func() { ctrl.Log.Info("No longer leading") },
		},
	})
	if err != nil {
		return 0, fmt.Errorf("preparing the election: %w", err)
	}
	elector.Run(term)
	// Without the lead, Run only returns when ctx ends; with it, it does not wait for what it has started.
	select {
	case <-ended:
		return pause, nil
	case <-ctx.Done():
		return 0, nil
	}
}

// ensureLease makes the Lease with a label that keeps it out of backups: restoring one means nothing, and Velero would
// warn of it in each restore.
func (e *election) ensureLease(ctx context.Context) error {
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{
		Namespace: e.namespace, Name: contract.LeaderLeaseName,
		Labels: map[string]string{contract.LabelExcludeFromBackup: "true"},
	}}
	_, err := e.client.CoordinationV1().Leases(e.namespace).Create(ctx, lease, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("creating Lease %s/%s: %w", lease.Namespace, lease.Name, err)
	}
	return nil
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package repository

import (
	"context"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/cli/command"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// leaderTimeout is how long the leader may miss renewals: twice the time after which another agent takes over.
const leaderTimeout = 30 * time.Second

// agents checks whether agents can carry out a request.
type agents struct {
	reader    client.Reader
	namespace string
	clock     clock.PassiveClock

	// renewed is the last renewal of the Lease, and seen when this process first saw it. Clocks of the cluster may
	// differ.
	renewed string
	seen    time.Time
}

// ready returns an error if no agent is ready.
func (a *agents) ready(ctx context.Context) error {
	daemonSet := &appsv1.DaemonSet{}
	key := client.ObjectKey{Namespace: a.namespace, Name: contract.DaemonSetName}
	err := a.reader.Get(ctx, key, daemonSet)
	look := fmt.Sprintf("look at the agents: kubectl -n %s get pods -l %s=%s", a.namespace, contract.AgentLabelKey,
		contract.AgentLabelValue)
	switch {
	case apierrors.IsForbidden(err):
		return nil // without permission to check, try the request
	case apierrors.IsNotFound(err):
		return command.NewError(fmt.Errorf("no agent can carry it out: there is no DaemonSet %s", key),
			"install the agents: kubectl apply -k examples/base; or select Velero's namespace with -n")
	case err != nil:
		return fmt.Errorf("reading the agents' DaemonSet: %w", err)
	case daemonSet.Status.NumberReady == 0 && daemonSet.Status.DesiredNumberScheduled == 0:
		return command.NewError(fmt.Errorf("no agent can carry it out: DaemonSet %s matches no node", key),
			"check its node selector, and the labels and taints of the nodes")
	case daemonSet.Status.NumberReady == 0:
		return command.NewError(fmt.Errorf("no agent can carry it out: of DaemonSet %s, 0 of %d pods are ready", key,
			daemonSet.Status.DesiredNumberScheduled), look)
	}
	return nil
}

var errNoLeader = errors.New("no agent is the leader, which maintains repositories")

// resetLeaderTimer starts the leader's timeout again.
func (a *agents) resetLeaderTimer() { a.seen = time.Time{} }

// checkLeader returns an error if the leader has not renewed its Lease for too long.
func (a *agents) checkLeader(ctx context.Context) error {
	lease := &coordinationv1.Lease{}
	err := a.reader.Get(ctx, client.ObjectKey{Namespace: a.namespace, Name: contract.LeaderLeaseName}, lease)
	if err != nil && !apierrors.IsNotFound(err) {
		return nil // a failed read proves nothing; reading the repository will fail, too
	}
	renewed := "never"
	if err == nil && ptr.Deref(lease.Spec.HolderIdentity, "") != "" && lease.Spec.RenewTime != nil {
		renewed = lease.Spec.RenewTime.String()
	}
	if renewed != a.renewed || a.seen.IsZero() {
		a.renewed, a.seen = renewed, a.clock.Now()
	}
	if a.clock.Since(a.seen) < leaderTimeout {
		return nil
	}
	return command.NewError(fmt.Errorf("%w: Lease %s/%s was not renewed for %s", errNoLeader, a.namespace,
		contract.LeaderLeaseName, durationText(a.clock.Since(a.seen))),
		fmt.Sprintf("the request stays. See the agents' log: kubectl -n %s logs daemonset/%s", a.namespace,
			contract.DaemonSetName))
}

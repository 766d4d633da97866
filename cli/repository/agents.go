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

// leaderPatience is how long the leader may give no sign of life: twice the time after which another agent takes over.
const leaderPatience = 30 * time.Second

// agents says whether anybody is there to do what is asked for.
type agents struct {
	reader    client.Reader
	namespace string
	clock     clock.PassiveClock

	// renewed is what the leader last said, and when this process has seen it first: the clocks may differ.
	renewed string
	seen    time.Time
}

// ready fails where no agent is running, since then nobody would ever look at a request.
func (a *agents) ready(ctx context.Context) error {
	daemonSet := &appsv1.DaemonSet{}
	key := client.ObjectKey{Namespace: a.namespace, Name: contract.DaemonSetName}
	err := a.reader.Get(ctx, key, daemonSet)
	look := fmt.Sprintf("look at the agents: kubectl -n %s get pods -l %s=%s", a.namespace, contract.AgentLabelKey,
		contract.AgentLabelValue)
	switch {
	case apierrors.IsForbidden(err):
		return nil // who may not look is not to be kept from asking
	case apierrors.IsNotFound(err):
		return command.NewError(fmt.Errorf("no agent runs that could do it: there is no DaemonSet %s", key),
			"install the agents: kubectl apply -k examples/base; or choose Velero's namespace with -n")
	case err != nil:
		return fmt.Errorf("looking for the agents: %w", err)
	case daemonSet.Status.NumberReady == 0 && daemonSet.Status.DesiredNumberScheduled == 0:
		return command.NewError(fmt.Errorf("no agent runs that could do it: DaemonSet %s fits no node", key),
			"look at its node selector, and at the nodes' labels and taints")
	case daemonSet.Status.NumberReady == 0:
		return command.NewError(fmt.Errorf("no agent runs that could do it: of DaemonSet %s, 0 of %d pods are ready", key,
			daemonSet.Status.DesiredNumberScheduled), look)
	}
	return nil
}

var errNoLeader = errors.New("no agent leads, and only the leader looks after repositories")

// forget has the leader's silence counted anew.
func (a *agents) forget() { a.seen = time.Time{} }

// led fails when the leader has given no sign of life for a while.
func (a *agents) led(ctx context.Context) error {
	lease := &coordinationv1.Lease{}
	err := a.reader.Get(ctx, client.ObjectKey{Namespace: a.namespace, Name: contract.LeaderLeaseName}, lease)
	if err != nil && !apierrors.IsNotFound(err) {
		return nil // a look that fails says nothing of the leader; that of the repository will fail too
	}
	renewed := "never"
	if err == nil && ptr.Deref(lease.Spec.HolderIdentity, "") != "" && lease.Spec.RenewTime != nil {
		renewed = lease.Spec.RenewTime.String()
	}
	if renewed != a.renewed || a.seen.IsZero() {
		a.renewed, a.seen = renewed, a.clock.Now()
	}
	if a.clock.Since(a.seen) < leaderPatience {
		return nil
	}
	return command.NewError(fmt.Errorf("%w: Lease %s/%s was not renewed for %s", errNoLeader, a.namespace,
		contract.LeaderLeaseName, since(a.clock.Since(a.seen))),
		fmt.Sprintf("the request stays. See the agents' log: kubectl -n %s logs daemonset/%s", a.namespace,
			contract.DaemonSetName))
}

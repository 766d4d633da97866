// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package leader

import (
	"context"
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// TestElection has one agent that cannot lead, and another that can, which must then get the lead.
func TestElection(t *testing.T) {
	client := fake.NewClientset()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	failed, led := make(chan struct{}, 9), make(chan struct{})
	ended := make(chan error, 2)
	broken := election{
		client: client, namespace: "velero", identity: "broken", pause: time.Hour,
		lead: func(context.Context) error {
			failed <- struct{}{}
			return errors.New("no permission")
		},
	}
	go func() { ended <- broken.run(ctx) }()
	select {
	case <-failed:
	case <-ctx.Done():
		t.Fatal("nobody leads")
	}
	whole := election{
		client: client, namespace: "velero", identity: "whole", pause: time.Hour,
		lead: func(ctx context.Context) error {
			close(led)
			<-ctx.Done()
			return ctx.Err()
		},
	}
	go func() { ended <- whole.run(ctx) }()
	select {
	case <-led:
	case <-ctx.Done():
		t.Fatal("an agent that cannot lead keeps the lead")
	}
	lease, err := client.CoordinationV1().Leases("velero").Get(ctx, contract.LeaderLeaseName, metav1.GetOptions{})
	if err != nil || lease.Labels[contract.LabelExcludeFromBackup] != "true" || *lease.Spec.HolderIdentity != "whole" {
		t.Errorf("the Lease is %+v, error %v", lease, err)
	}
	cancel()
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if len(failed) > 0 {
		t.Error("the agent that could not lead did not stand back")
	}
}

// TestElectionWaits has an agent lose the lead while its work still goes on: that must end before it leads again.
func TestElectionWaits(t *testing.T) {
	client := fake.NewClientset()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	busy, again := make(chan struct{}, 1), make(chan struct{}, 1)
	e := election{
		client: client, namespace: "velero", identity: "node", pause: time.Millisecond,
		lead: func(context.Context) error {
			select {
			case busy <- struct{}{}:
			default:
				t.Error("it leads twice at a time")
			}
			time.Sleep(100 * time.Millisecond)
			<-busy
			select {
			case again <- struct{}{}:
				return errors.New("the first time")
			default:
				cancel()
				return nil
			}
		},
	}
	if err := e.run(ctx); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(ctx.Err(), context.Canceled) {
		t.Error("it does not lead again")
	}
}

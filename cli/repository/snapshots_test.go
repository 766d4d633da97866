// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package repository_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/cli/command"
)

// list is an entry of the list that a word asks for.
func list(word string, result resticv1.MaintenanceResult, message string) resticv1.Maintenance {
	entry := resticv1.Maintenance{
		Operation: resticv1.OperationSnapshots, Request: word, Job: "restic-snapshots-1", Result: result,
		Message: message, StartTime: metav1.Now(),
	}
	if result != resticv1.MaintenanceRunning {
		entry.CompletionTime, entry.Duration = ptr.To(metav1.Now()), &metav1.Duration{Duration: 3 * time.Second}
	}
	return entry
}

// listing has the leader say how the list goes that was asked for.
func (c *cluster) listing(result resticv1.MaintenanceResult, message string) {
	c.t.Helper()
	repository := c.shop()
	word := repository.Spec.Requests.Snapshots
	repository.Status.Served.Snapshots = word
	repository.Status.Maintenance = []resticv1.Maintenance{list(word, result, message)}
	if err := c.api.Status().Update(context.WithoutCancel(c.t.Context()), repository); err != nil {
		c.t.Fatal(err)
	}
}

// TestSnapshotsColoursTheStreamItself has one of the two streams go into a file.
func TestSnapshotsColoursTheStreamItself(t *testing.T) {
	for name, c := range map[string]struct {
		screen   command.Screen
		errColor bool
		want     string
	}{
		"the error stream is a file": {
			screen: command.Screen{Terminal: true, Color: true}, want: "shop-default-1: failed after 3s: no room\n",
		},
		"the answer is a file": {errColor: true, want: "shop-default-1: \x1b[31mfailed after 3s: no room\x1b[0m\n"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				world := newCluster(t, shop(), agents(3), leader())
				world.adapt = func(env *command.Environment) { env.Screen, env.ErrColor = c.screen, c.errColor }
				go func() {
					world.pass(1)
					world.listing(resticv1.MaintenanceFailed, "no room")
				}()
				got := world.run(t.Context(), "repo", "snapshots", "shop")
				if got.code != command.Unable || !strings.HasPrefix(got.err, c.want) {
					t.Errorf("got %+v, want %q", got, c.want)
				}
			})
		})
	}
}

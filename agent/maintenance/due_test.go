// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package maintenance

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/velero-restic/velero-plugin-for-restic/agent/agenttest"
	"github.com/velero-restic/velero-plugin-for-restic/agent/occupied"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
)

const day = 24 * time.Hour

// aged is a repository whose object is of the given age, with both frequencies a week.
func aged(now time.Time, age time.Duration) *resticv1.ResticRepository {
	repository := &resticv1.ResticRepository{}
	repository.UID, repository.CreationTimestamp = "uid-1", metav1.NewTime(now.Add(-age))
	repository.Spec.MaintenanceFrequency.Duration = 7 * day
	repository.Spec.CheckFrequency.Duration = 7 * day
	return repository
}

func entry(
	now time.Time, operation resticv1.MaintenanceOperation, result resticv1.MaintenanceResult, ended time.Duration,
) resticv1.Maintenance {
	return resticv1.Maintenance{
		Operation: operation, Result: result, StartTime: *agenttest.Ago(now, ended+time.Minute), CompletionTime: agenttest.Ago(now, ended),
	}
}

func TestNextDue(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	const (
		check, prune, unlock = resticv1.OperationCheck, resticv1.OperationPrune, resticv1.OperationUnlock
		failed, locked       = resticv1.MaintenanceFailed, resticv1.MaintenanceLocked
	)
	cases := map[string]struct {
		change   func(r *resticv1.ResticRepository)
		age      time.Duration
		readOnly bool
		want     resticv1.MaintenanceOperation
		request  string
		// rest bounds the time until something is due.
		restMin, restMax time.Duration
	}{
		"nothing for a new repository, for a week and its share of the spread": {restMin: 7 * day, restMax: 8 * day},
		"a prune after a week": {
			age: 8 * day, want: prune, change: func(r *resticv1.ResticRepository) { r.Status.LastCheckTime = agenttest.Ago(now, day) },
		},
		"a check after a week": {
			age: 8 * day, want: check,
			change: func(r *resticv1.ResticRepository) { r.Status.LastMaintenanceTime = agenttest.Ago(now, day) },
		},
		"nothing a day after the last success": {
			age: 100 * day, restMin: 6 * day, restMax: 7 * day, change: func(r *resticv1.ResticRepository) {
				r.Status.LastMaintenanceTime, r.Status.LastCheckTime = agenttest.Ago(now, day), agenttest.Ago(now, day)
			},
		},
		"nothing by time with the frequency 0": {
			age: 100 * day, change: func(r *resticv1.ResticRepository) {
				r.Spec.CheckFrequency.Duration, r.Spec.MaintenanceFrequency.Duration = 0, 0
			},
		},
		"nothing by time of a read-only location": {age: 100 * day, readOnly: true},
		"a request at once": {
			want: check, request: "now", change: func(r *resticv1.ResticRepository) { r.Spec.Requests.Check = "now" },
		},
		"a request of a read-only location as well": {
			readOnly: true, want: check, request: "now",
			change: func(r *resticv1.ResticRepository) { r.Spec.Requests.Check = "now" },
		},
		"no request that was taken up, though its entry is forgotten": {
			restMin: 7 * day, restMax: 8 * day, change: func(r *resticv1.ResticRepository) {
				r.Spec.Requests.Prune, r.Status.Served.Prune = "now", "now"
			},
		},
		"a further word of the same request": {
			want: prune, request: "again", change: func(r *resticv1.ResticRepository) {
				r.Spec.Requests.Prune, r.Status.Served.Prune = "again", "now"
			},
		},
		"an unlock before all else": {
			age: 100 * day, want: unlock, request: "now", change: func(r *resticv1.ResticRepository) {
				r.Spec.Requests = resticv1.RepositoryRequests{Check: "now", Prune: "now", Unlock: "now"}
			},
		},
		"nothing for a list, which goes its own way": {
			restMin: 7 * day, restMax: 8 * day, change: func(r *resticv1.ResticRepository) {
				r.Spec.Requests.Snapshots = "now"
			},
		},
		"an unlock of locks whose holder is gone": {
			want: unlock, change: func(r *resticv1.ResticRepository) {
				r.Status.Locks = []resticv1.RepositoryLock{{Host: "a", Time: *agenttest.Ago(now, 1)}, {Host: "b", Abandoned: true, Time: *agenttest.Ago(now, 1)}}
			},
		},
		"no unlock for locks of those that live": {
			restMin: 7 * day, restMax: 8 * day, change: func(r *resticv1.ResticRepository) {
				r.Status.Locks = []resticv1.RepositoryLock{{Host: "a", Time: *agenttest.Ago(now, 1)}}
			},
		},
		"no second unlock of the same host right after the first": {
			restMin: time.Second, restMax: occupied.UnlockRetry, change: func(r *resticv1.ResticRepository) {
				r.Status.Locks = []resticv1.RepositoryLock{{Host: "b", Abandoned: true, Time: *agenttest.Ago(now, time.Hour)}}
				done := entry(now, unlock, resticv1.MaintenanceSucceeded, time.Second)
				done.Host = "b"
				r.Status.Maintenance = []resticv1.Maintenance{done}
			},
		},
		"nothing within an hour after a failure": {
			age: 8 * day, restMin: 20 * time.Minute, restMax: 31 * time.Minute, change: func(r *resticv1.ResticRepository) {
				r.Status.LastCheckTime = agenttest.Ago(now, day)
				r.Status.Maintenance = []resticv1.Maintenance{entry(now, prune, failed, 30*time.Minute)}
			},
		},
		"another attempt an hour after a failure": {
			age: 8 * day, want: prune, change: func(r *resticv1.ResticRepository) {
				r.Status.LastCheckTime = agenttest.Ago(now, day)
				r.Status.Maintenance = []resticv1.Maintenance{entry(now, prune, failed, 61*time.Minute)}
			},
		},
		"four hours of rest after three failures": {
			age: 8 * day, restMin: 2 * time.Hour, restMax: 3 * time.Hour, change: func(r *resticv1.ResticRepository) {
				r.Status.LastCheckTime = agenttest.Ago(now, day)
				r.Status.Maintenance = []resticv1.Maintenance{
					entry(now, prune, failed, time.Hour+time.Minute), entry(now, check, resticv1.MaintenanceSucceeded, day),
					entry(now, prune, failed, 4*time.Hour), entry(now, prune, failed, 6*time.Hour),
					entry(now, prune, resticv1.MaintenanceSucceeded, 8*day), entry(now, prune, failed, 9*day),
				}
			},
		},
		"another attempt soon after a lock, for the same word": {
			want: prune, request: "now", change: func(r *resticv1.ResticRepository) {
				r.Spec.Requests.Prune, r.Status.Served.Prune = "now", "now"
				met := entry(now, prune, locked, time.Minute)
				met.Request = "now"
				r.Status.Maintenance = []resticv1.Maintenance{met}
			},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			repository := aged(now, c.age)
			if c.change != nil {
				c.change(repository)
			}
			next, rest := nextDue(repository, c.readOnly, now)
			switch {
			case (next == nil) != (c.want == ""):
				t.Fatalf("due is %+v (rest %s), want %q", next, rest, c.want)
			case next == nil && (rest < c.restMin || rest > c.restMax):
				t.Errorf("nothing is due for %s, want %s to %s", rest, c.restMin, c.restMax)
			case next != nil && (next.operation != c.want || next.request != c.request):
				t.Errorf("due is %+v, want %s %q", next, c.want, c.request)
			}
		})
	}
}

func TestRepositoriesOfTheSameAgeAreSpread(t *testing.T) {
	now := time.Now()
	hours := map[time.Duration]int{}
	for i := range 500 {
		repository := aged(now, 0)
		repository.UID = types.UID(fmt.Sprintf("uid-%d", i))
		_, rest := nextDue(repository, false, now)
		if rest < 7*day || rest > 7*day+7*day/spread {
			t.Fatalf("due in %s", rest)
		}
		hours[rest.Truncate(time.Hour)]++
	}
	for hour, count := range hours {
		if count > 100 {
			t.Errorf("%d of 500 repositories are due within the hour %s", count, hour)
		}
	}
}

func TestAddToHistory(t *testing.T) {
	now := time.Now()
	repository := aged(now, 0)
	for i := range 20 {
		operation := []resticv1.MaintenanceOperation{resticv1.OperationCheck, resticv1.OperationPrune}[i%2]
		made := entry(now, operation, resticv1.MaintenanceSucceeded, 0)
		made.Job = fmt.Sprint(i)
		addToHistory(repository, made)
	}
	for range 3 {
		met := entry(now, resticv1.OperationUnlock, resticv1.MaintenanceLocked, 0)
		addToHistory(repository, met)
	}
	count := map[resticv1.MaintenanceOperation]int{}
	for _, kept := range repository.Status.Maintenance {
		count[kept.Operation]++
	}
	if count[resticv1.OperationCheck] != 5 || count[resticv1.OperationPrune] != 5 || count[resticv1.OperationUnlock] != 1 {
		t.Errorf("kept are %v", count)
	}
	if newest := lastMaintenance(repository, resticv1.OperationPrune); newest.Job != "19" {
		t.Errorf("the newest is %s", newest.Job)
	}
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package coverage

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/velero-restic/velero-plugin-for-restic/agent/event"
)

// TestErrorsAreReported follows what cannot be read through some minutes.
func TestErrorsAreReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recorder := record.NewFakeRecorder(10)
		set := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: "velero", Name: "restic"}}
		reporter := &errorReporter{
			reader: fake.NewClientBuilder().WithObjects(set).Build(), recorder: recorder, namespace: "velero",
		}
		var trouble atomic.Pointer[error]
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			reporter.follow(ctx, func() error { return *trouble.Load() })
		}()
		for _, step := range []struct {
			name    string
			trouble error
			lasts   time.Duration
			want    string
		}{
			{"nothing", nil, 5 * time.Minute, ""},
			{"what passes", errors.New("the server was restarted"), reportInterval, ""},
			{"again nothing", nil, reportInterval, ""},
			{"what lasts", errors.New("backups is forbidden"), 10 * time.Minute, "Warning CoverageDown"},
			{"something else", errors.New("pods is forbidden"), time.Minute, "pods is forbidden"},
			{"all is well", nil, time.Minute, ""},
			{"the same once more", errors.New("pods is forbidden"), 2 * time.Minute, "pods is forbidden"},
			{"what has a long reason", errors.New(strings.Repeat("x", 2000)), 2 * time.Minute, "xxx"},
		} {
			trouble.Store(&step.trouble)
			time.Sleep(step.lasts)
			synctest.Wait()
			var got []string
			for len(recorder.Events) > 0 {
				got = append(got, <-recorder.Events)
			}
			all := strings.Join(got, "\n")
			if (step.want == "") != (len(got) == 0) || len(got) > 1 || !strings.Contains(all, step.want) ||
				len(all) > event.MaxMessage+len("Warning CoverageDown ") {
				t.Errorf("%s: Events are %q, want one with %q", step.name, got, step.want)
			}
		}
		cancel()
		<-ended
	})
}

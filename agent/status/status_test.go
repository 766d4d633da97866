// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package status_test

import (
	"context"
	"errors"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/velero-restic/velero-plugin-for-restic/agent/status"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
)

func TestSave(t *testing.T) {
	cases := map[string]struct {
		// change is what this writer changes, and meanwhile what happens between its read and its write.
		change    func(*resticv1.PodVolumeBackup)
		meanwhile func(*testing.T, client.Client, *resticv1.PodVolumeBackup)
		canceled  bool

		saved    bool
		check    func(error) bool
		requests int
		// phase and message are what the API server has in the end.
		phase   resticv1.VolumePhase
		message string
	}{
		"no change": {
			change: func(*resticv1.PodVolumeBackup) {}, saved: true, check: isNil, phase: resticv1.PhaseNew, message: "first",
		},
		"a change": {
			change: toMessage("second"), saved: true, check: isNil, requests: 1,
			phase: resticv1.PhaseNew, message: "second",
		},
		"another writer was faster": {
			change: toMessage("second"), check: apierrors.IsConflict, requests: 1,
			meanwhile: func(t *testing.T, c client.Client, read *resticv1.PodVolumeBackup) {
				t.Helper()
				other := read.DeepCopy()
				other.Status.Phase = resticv1.PhaseCanceled
				if err := c.Status().Update(t.Context(), other); err != nil {
					t.Fatal(err)
				}
			},
			phase: resticv1.PhaseCanceled, message: "first",
		},
		"the object is gone": {
			change: toMessage("second"), check: isNil, requests: 1,
			meanwhile: func(t *testing.T, c client.Client, read *resticv1.PodVolumeBackup) {
				t.Helper()
				if err := c.Delete(t.Context(), read.DeepCopy()); err != nil {
					t.Fatal(err)
				}
			},
		},
		"the context has ended": {
			change: toMessage("second"), canceled: true, requests: 1,
			check: func(err error) bool { return errors.Is(err, context.Canceled) },
			phase: resticv1.PhaseNew, message: "first",
		},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			api, requests := newAPI(t)
			key := client.ObjectKey{Namespace: "velero", Name: "backup"}
			object := &resticv1.PodVolumeBackup{}
			if err := api.Get(t.Context(), key, object); err != nil {
				t.Fatal(err)
			}
			before := object.DeepCopy()
			if test.meanwhile != nil {
				test.meanwhile(t, api, object)
			}
			test.change(object)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if test.canceled {
				cancel()
			}
			saved, err := status.Save(ctx, api, before, object)
			if saved != test.saved || !test.check(err) || *requests != test.requests {
				t.Errorf("got %t, %v after %d requests", saved, err, *requests)
			}
			stored := &resticv1.PodVolumeBackup{}
			if err := api.Get(t.Context(), key, stored); client.IgnoreNotFound(err) != nil {
				t.Fatal(err)
			}
			if stored.Status.Phase != test.phase || stored.Status.Message != test.message {
				t.Errorf("the API server has %+v", stored.Status)
			}
		})
	}
}

func TestIgnoreConflict(t *testing.T) {
	conflict := apierrors.NewConflict(resticv1.GroupVersion().WithResource("x").GroupResource(), "x", nil)
	if err := status.IgnoreConflict(conflict); err != nil {
		t.Errorf("a conflict gave %v", err)
	}
	other := errors.New("other")
	if err := status.IgnoreConflict(other); !errors.Is(err, other) {
		t.Errorf("another error gave %v", err)
	}
}

// newAPI returns an API server's client with one PodVolumeBackup, and counts its patches of statuses.
func newAPI(t *testing.T) (client.Client, *int) {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := resticv1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	requests := new(int)
	backup := &resticv1.PodVolumeBackup{ObjectMeta: metav1.ObjectMeta{Namespace: "velero", Name: "backup"}}
	backup.Status.Phase, backup.Status.Message = resticv1.PhaseNew, "first"
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(backup).WithStatusSubresource(backup).
		WithInterceptorFuncs(interceptor.Funcs{SubResourcePatch: func(
			ctx context.Context, c client.Client, name string, object client.Object, patch client.Patch,
			options ...client.SubResourcePatchOption,
		) error {
			*requests++
			if err := ctx.Err(); err != nil {
				return err
			}
			return c.SubResource(name).Patch(ctx, object, patch, options...)
		}}).Build(), requests
}

func toMessage(text string) func(*resticv1.PodVolumeBackup) {
	return func(backup *resticv1.PodVolumeBackup) { backup.Status.Message = text }
}

func isNil(err error) bool { return err == nil }

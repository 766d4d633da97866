// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package volume_test

import (
	"testing"
	"testing/synctest"

	"github.com/velero-restic/velero-plugin-for-restic/agent/agenttest"
	"github.com/velero-restic/velero-plugin-for-restic/agent/volume"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/repository"
)

// TestEnsureRepository asks for a repository whose object is lost: only a backup may have it made in the storage, too.
func TestEnsureRepository(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := agenttest.New(t)
		for step, openOnly := range []bool{true, true, false, true} {
			wanted := repository.ForNamespace(agenttest.Velero, agenttest.Shop, agenttest.Location, 0)
			wanted.Spec.OpenOnly = openOnly
			got, err := volume.EnsureRepository(t.Context(), w.Client, wanted)
			if err != nil {
				t.Fatal(err)
			}
			stored := agenttest.Get(w, wanted.Name, &resticv1.ResticRepository{})
			if want := step < 2; got.Spec.OpenOnly != want || stored.Spec.OpenOnly != want {
				t.Errorf("step %d: openOnly is %v, and %v in the cluster, want %v", step, got.Spec.OpenOnly,
					stored.Spec.OpenOnly, want)
			}
		}
	})
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package cluster_test

import (
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/plugins/internal/cluster"
	"github.com/velero-restic/velero-plugin-for-restic/plugins/internal/cluster/clustertest"
)

// TestEnsureRepository asks for the same repository again and again: only a backup lets it be made.
func TestEnsureRepository(t *testing.T) {
	c := clustertest.New(t, interceptor.Funcs{})
	for step, use := range []cluster.Use{cluster.ToRestore, cluster.ToRestore, cluster.ToBackUp, cluster.ToRestore} {
		got, err := c.EnsureRepository("app", "default", use)
		if err != nil {
			t.Fatal(err)
		}
		var stored resticv1.ResticRepository
		if err := c.Get(clustertest.Velero, contract.RepositoryName("app", "default"), &stored); err != nil {
			t.Fatal(err)
		}
		if want := step < 2; got.Spec.OpenOnly != want || stored.Spec.OpenOnly != want {
			t.Errorf("step %d: openOnly is %v, and %v in the cluster, want %v", step, got.Spec.OpenOnly,
				stored.Spec.OpenOnly, want)
		}
		stored.Status.ResticIdentifier = "s3:bucket/app"
		if err := c.Client.Update(c.Context, &stored); err != nil {
			t.Fatal(err)
		}
		if step > 0 && got.Status.ResticIdentifier != "s3:bucket/app" {
			t.Errorf("step %d: the repository is %q", step, got.Status.ResticIdentifier)
		}
	}
}

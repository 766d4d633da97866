// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package ownresources

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware-tanzu/velero/pkg/plugin/velero"
	riav2 "github.com/vmware-tanzu/velero/pkg/plugin/velero/restoreitemaction/v2"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestExecute(t *testing.T) {
	var action riav2.RestoreItemAction = New(nil, nil)
	item := &unstructured.Unstructured{Object: map[string]any{"kind": "PodVolumeBackup"}}
	output, err := action.Execute(&velero.RestoreItemActionExecuteInput{Item: item, ItemFromBackup: item})
	if err != nil || !output.SkipRestore || output.OperationID != "" {
		t.Errorf("output is %+v with error %v, want the item left out", output, err)
	}
}

// TestAppliesTo holds the kinds: an action without any would leave everything out of a restore.
func TestAppliesTo(t *testing.T) {
	selector, err := New(nil, nil).AppliesTo()
	want := velero.ResourceSelector{IncludedResources: []string{
		"podvolumebackups.restic.velero.io", "podvolumerestores.restic.velero.io", "resticrepositories.restic.velero.io",
	}}
	if diff := cmp.Diff(want, selector); err != nil || diff != "" {
		t.Errorf("error %v, and the selector differs (-want +got):\n%s", err, diff)
	}
}

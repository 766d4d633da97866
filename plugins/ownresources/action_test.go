// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package ownresources

import (
	"testing"

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

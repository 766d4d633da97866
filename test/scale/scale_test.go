// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package scale

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestWorld(t *testing.T) {
	var pods corev1.PodList
	if err := shared.client.List(t.Context(), &pods); err != nil || len(pods.Items) != claims {
		t.Fatal(len(pods.Items), err)
	}
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package agenttest

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// WantEvents wants each Event twice: on the operation and on its pod.
func WantEvents(t *testing.T, got []string, want ...string) {
	t.Helper()
	var twice []string
	for _, event := range want {
		twice = append(twice, event, event)
	}
	if diff := cmp.Diff(twice, got); diff != "" {
		t.Errorf("Events (-want +got):\n%s", diff)
	}
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package integration

import (
	"testing"

	"k8s.io/client-go/rest"
)

// TestCoverageNeedsNoMoreThanItsRoles takes stock as a user of the command line with the roles of examples/cli does.
func TestCoverageNeedsNoMoreThanItsRoles(t *testing.T) {
	namespace := agentNamespace(t)
	claimOfPod(t, namespace, "web")
	user := "somebody-" + namespace
	workspace := newWorkspace(t, shared.kubeconfig)
	for _, arguments := range []string{
		"apply -f examples/cli/roles.yaml",
		"-n " + namespace + " create rolebinding viewer --clusterrole=velero-restic-viewer --user=" + user,
		"create clusterrolebinding " + user + " --clusterrole=velero-restic-coverage --user=" + user,
	} {
		if output, err := workspace.Run(t.Context(), "kubectl "+arguments); err != nil {
			t.Fatalf("kubectl %s: %v: %s", arguments, err, output)
		}
	}
	config := rest.CopyConfig(shared.config)
	config.Impersonate.UserName = user
	s := startStock(t, namespace, config)
	s.sync(t)
	s.becomes(t, "web", "NoSchedule")
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/snapshotlist"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
)

// TestRepositoryCommands runs velero-restic repo with its arguments, output formats and errors.
func TestRepositoryCommands(t *testing.T) {
	needsNode(t)
	shareCluster(t)
	ns := newNamespace(t, "cli", 0)
	ns.backUpRandomFile("cli-1", 1_000_000)
	name := contract.RepositoryName(ns.name, "default")
	t.Run("repo get", func(t *testing.T) { checkRepoGet(t, name) })
	t.Run("repo check, prune and unlock wait for the end", func(t *testing.T) {
		wantCLI(t, 0, []string{name + ": check requested", "Job restic-check-", "done after", "no errors in the structure"},
			"repo", "check", "cli")
		wantCLI(t, 0, []string{"prune requested", "done after", "freed "}, "repo", "prune", name)
		wantCLI(t, 0, []string{"unlock requested", "removed 0 abandoned locks, none is left"}, "repo", "unlock", name)
		wantCLI(t, 0, []string{"True"}, "repo", "get", name, "-o", "wide")
	})
	t.Run("repo snapshots", func(t *testing.T) { checkRepoSnapshots(t) })
	t.Run("a deadline ends the wait, not the request", func(t *testing.T) {
		wantCLI(t, 4, []string{"--timeout has passed", "the request stays"}, "repo", "check", name, "--timeout", "1ms")
		wantCLI(t, 0, []string{"done after"}, "repo", "check", name)
	})
	t.Run("errors name the cause and the next command", func(t *testing.T) { checkCLIErrors(t, ns, name) })
	t.Run("kubectl finds the plugin", func(t *testing.T) {
		got := runProgram(t, "kubectl", "velero-restic", "version")
		wantContains(t, "kubectl velero-restic version", got.out, "Client: v", "Velero: v1.18", "Plugin: v", "Agents: ")
		got = runProgram(t, "kubectl", "velero-restic", "repo", "gte")
		wantContains(t, "a wrong command", got.err, "kubectl velero-restic repo --help")
		got = runProgram(t, "kubectl", "__complete", "velero-restic", "repo", "check", "")
		wantContains(t, "completion", got.out, name)
	})
	t.Run("damage has an exit code", func(t *testing.T) {
		removeFiles(t, filepath.Join(repositoryFiles(t, ns.name), "data"))
		wantCLI(t, 3, []string{"DAMAGED", "1 of 1 repositories are damaged", "docs/maintenance.md"}, "repo", "check", name)
		wantCLI(t, 0, []string{"False"}, "repo", "get", "-o", "wide")
	})
}

func checkRepoGet(t *testing.T, name string) {
	table := wantCLI(t, 0, []string{name, "Ready", "<never>"}, "repo", "get", "cli")
	if header := strings.Join(strings.Fields(strings.SplitN(table.out, "\n", 2)[0]), " "); header !=
		"NAME STATUS LAST MAINTENANCE" {
		t.Errorf("the columns are %s, want NAME, STATUS, LAST MAINTENANCE", header)
	}
	wantCLI(t, 0, []string{"INTACT", "REPOSITORY", "/restic/cli"}, "repo", "get", "-o", "wide")
	wantCLI(t, 0, []string{"kind: ResticRepository\n", "volumeNamespace: cli"}, "repo", "get", name, "-o", "yaml")
	var one resticv1.ResticRepository
	got := wantCLI(t, 0, nil, "repo", "get", name, "-o", "json")
	if err := json.Unmarshal([]byte(got.out), &one); err != nil || one.Name != name || one.Kind != "ResticRepository" {
		t.Errorf("the object is %s, %v", got.out, err)
	}
	var list corev1.List
	got = wantCLI(t, 0, nil, "repo", "get", "-l", contract.LabelVolumeNamespace+"=cli", "-o", "json")
	if err := json.Unmarshal([]byte(got.out), &list); err != nil || list.Kind != "List" || len(list.Items) != 1 {
		t.Errorf("the list is %s, %v", got.out, err)
	}
}

func checkRepoSnapshots(t *testing.T) {
	wantCLI(t, 0, []string{"SNAPSHOT", "cli-1", "web", "cache", "976.6 KiB"}, "repo", "snapshots", "cli")
	var listed []snapshotlist.Snapshot
	got := wantCLI(t, 0, nil, "repo", "snapshots", "cli", "--backup", "cli-1", "-o", "json")
	if err := json.Unmarshal([]byte(got.out), &listed); err != nil || len(listed) != 1 || listed[0].Volume != "cache" {
		t.Errorf("listed %s, %v", got.out, err)
	}
	wantCLI(t, 0, []string{"There are no matching snapshots"}, "repo", "snapshots", "cli", "--backup", "another")
}

func checkCLIErrors(t *testing.T, ns *testNamespace, name string) {
	wantCLI(t, 1, []string{`there is no ResticRepository "clo"`, "there are: ", name}, "repo", "check", "clo")
	wantCLI(t, 1, []string{"there is no DaemonSet default/restic", "-n"}, "repo", "check", "--all", "-n", "default")
	wantCLI(t, 1, []string{"127.0.0.1:1", "cannot be reached", "--context"}, "repo", "get", "-s", "https://127.0.0.1:1")
	wantCLI(t, 1, []string{`context "nowhere" does not exist`}, "repo", "get", "--context", "nowhere")
	wantCLI(t, 2, []string{"did you mean get?", "velero-restic repo --help"}, "repo", "gte")
	wantCLI(t, 2, []string{"must be one of table, wide, json, yaml"}, "repo", "get", "-o", "xml")
	kubectl(t, "-n", ns.name, "create", "serviceaccount", "ann")
	user := "system:serviceaccount:" + ns.name + ":ann"
	wantCLI(t, 1, []string{"cannot get resource \"resticrepositories\"", "in the namespace \"velero\"", "examples/cli"},
		"repo", "check", name, "--as", user)
	kubectl(t, "apply", "-k", filepath.Join(suite.repository, "examples", "cli"))
	bind := func(binding, role string) {
		kubectl(t, "-n", velero.Namespace, "create", "rolebinding", binding, "--clusterrole="+role,
			"--serviceaccount="+ns.name+":ann")
		t.Cleanup(func() { kubectl(t, "-n", velero.Namespace, "delete", "rolebinding", binding) })
	}
	bind("cli-ann-sees", "velero-restic-viewer")
	wantCLI(t, 0, []string{name}, "repo", "get", "--as", user)
	wantCLI(t, 0, []string{"Agents: "}, "version", "--as", user)
	wantCLI(t, 1, []string{"cannot patch resource \"resticrepositories\""}, "repo", "unlock", name, "--as", user)
	bind("cli-ann-does", "velero-restic-operator")
	wantCLI(t, 0, []string{"none is left"}, "repo", "unlock", name, "--as", user)
	wantCLI(t, 0, []string{"cli-1"}, "repo", "snapshots", name, "--as", user)
}

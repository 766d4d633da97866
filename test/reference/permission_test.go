// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package reference

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// TestRights compares the generated roles with the rights that the agents are meant to have. A right that a marker adds
// must be added here, too: a token of the agents is on every node.
func TestRights(t *testing.T) {
	for file, want := range map[string][]string{
		"examples/base/rbac/role.yaml": {
			"ClusterRole velero-restic: events: create patch",
			"ClusterRole velero-restic: mutatingadmissionpolicies.admissionregistration.k8s.io velero-restic-volume-policy: get",
			"ClusterRole velero-restic: mutatingadmissionpolicybindings.admissionregistration.k8s.io velero-restic-volume-policy: get",
			"ClusterRole velero-restic: namespaces kube-system: get",
			"ClusterRole velero-restic: namespaces: list watch",
			"ClusterRole velero-restic: nodes: list watch",
			"ClusterRole velero-restic: persistentvolumeclaims: get list watch",
			"ClusterRole velero-restic: persistentvolumes: get list watch",
			"ClusterRole velero-restic: pods: get list watch",
			"ClusterRole velero-restic: storageclasses.storage.k8s.io: list",
			"ClusterRole velero-restic: volumesnapshotclasses.snapshot.storage.k8s.io: list",
			"Role velero/velero-restic: backups.velero.io: list watch",
			"Role velero/velero-restic: backupstoragelocations.velero.io: get list watch",
			"Role velero/velero-restic: configmaps velero-restic-maintenance: get",
			"Role velero/velero-restic: configmaps: list watch",
			"Role velero/velero-restic: daemonsets.apps restic: get",
			"Role velero/velero-restic: deployments.apps velero: get",
			"Role velero/velero-restic: jobs.batch: create delete get list watch",
			"Role velero/velero-restic: leases.coordination.k8s.io: create get update",
			"Role velero/velero-restic: podvolumebackups.restic.velero.io/status: get patch update",
			"Role velero/velero-restic: podvolumebackups.restic.velero.io: create delete get list patch update watch",
			"Role velero/velero-restic: podvolumerestores.restic.velero.io/status: get patch update",
			"Role velero/velero-restic: podvolumerestores.restic.velero.io: create delete get list patch update watch",
			"Role velero/velero-restic: resticrepositories.restic.velero.io/status: get patch update",
			"Role velero/velero-restic: resticrepositories.restic.velero.io: create delete get list patch update watch",
			"Role velero/velero-restic: schedules.velero.io: list watch",
			"Role velero/velero-restic: secrets: get",
			"Role velero/velero-restic: volumesnapshotlocations.velero.io: list",
		},
		"examples/component/annotate/role.yaml": {"ClusterRole velero-restic-annotate: pods: patch"},
	} {
		t.Run(file, func(t *testing.T) {
			if diff := cmp.Diff(want, rights(t, filepath.Join(Repository(t), file))); diff != "" {
				t.Errorf("rights (-want +got):\n%s", diff)
			}
		})
	}
}

// rights returns what the roles in a file allow, a line for each resource, sorted.
func rights(t *testing.T, file string) []string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	verbs := map[string][]string{}
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(content), 4096)
	for {
		role := &rbacv1.Role{}
		if err := decoder.Decode(role); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if len(role.Rules) == 0 {
			t.Errorf("%s %s has no rules", role.Kind, role.Name)
		}
		for _, rule := range role.Rules {
			if len(rule.NonResourceURLs) > 0 {
				t.Errorf("%s %s allows URLs: %v", role.Kind, role.Name, rule.NonResourceURLs)
			}
			for _, what := range subjects(rule) {
				key := role.Kind + " " + filepath.Join(role.Namespace, role.Name) + ": " + what
				verbs[key] = append(verbs[key], rule.Verbs...)
			}
		}
	}
	var lines []string
	for key, allowed := range verbs {
		slices.Sort(allowed)
		lines = append(lines, key+": "+strings.Join(slices.Compact(allowed), " "))
	}
	slices.Sort(lines)
	return lines
}

// subjects returns what a rule is about: RESOURCE.GROUP/SUBRESOURCE, followed by the name if it is limited to one.
func subjects(rule rbacv1.PolicyRule) []string {
	names := []string{""}
	if len(rule.ResourceNames) > 0 {
		names = rule.ResourceNames
	}
	var found []string
	for _, group := range rule.APIGroups {
		for _, resource := range rule.Resources {
			kind, sub, _ := strings.Cut(resource, "/")
			full := strings.TrimSuffix(strings.TrimSuffix(kind+"."+group, ".")+"/"+sub, "/")
			for _, name := range names {
				found = append(found, strings.TrimSpace(full+" "+name))
			}
		}
	}
	return found
}

func TestPermissions(t *testing.T) {
	for name, c := range map[string]struct {
		source string
		want   []permission
		fails  bool
	}{
		"two markers with a reason": {
			source: "// Pods are\n// found.\n//\n// " + marker + "groups=\"\",resources=pods;nodes,verbs=get;list\n" +
				"// " + marker + "groups=apps,resources=daemonsets,resourceNames=a,verbs=get,namespace=velero\n\nvar x = 1",
			want: []permission{
				{dir: "p", reason: "Pods are found.", fields: map[string]string{
					"groups": "", "resources": "pods;nodes", "verbs": "get;list",
				}},
				{dir: "p", reason: "Pods are found.", fields: map[string]string{
					"groups": "apps", "resources": "daemonsets", "resourceNames": "a", "verbs": "get", "namespace": "velero",
				}},
			},
		},
		"a marker without a reason": {source: "// " + marker + "groups=\"\",resources=pods,verbs=get\n", fails: true},
		"no marker":                 {source: "// A comment.\nvar x = 1"},
	} {
		t.Run(name, func(t *testing.T) {
			repository := t.TempDir()
			if err := os.Mkdir(filepath.Join(repository, "p"), 0o700); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(repository, "p", "x.go")
			if err := os.WriteFile(file, []byte("package p\n\n"+c.source+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := permissions(repository, "p")
			if (err != nil) != c.fails {
				t.Fatalf("got %v", err)
			}
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(permission{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package repository_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/cli/command"
)

func newRoot(env *command.Environment) *cobra.Command {
	root := &cobra.Command{Use: command.Program}
	env.AddFlags(root)
	return root
}

// broken returns a repository with problems.
func broken() *resticv1.ResticRepository {
	r := &resticv1.ResticRepository{ObjectMeta: meta("blog-default-2")}
	r.CreationTimestamp = metav1.NewTime(time.Now().Add(-100 * 24 * time.Hour))
	r.Spec.VolumeNamespace, r.Spec.BackupStorageLocation = "blog", "default"
	r.Status.Phase, r.Status.Message = resticv1.RepositoryNotReady, "the password is wrong"
	r.Status.LastMaintenanceTime = ptr.To(metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)))
	r.Status.Conditions = []metav1.Condition{{Type: resticv1.ConditionIntact, Status: metav1.ConditionFalse}}
	return r
}

func TestGet(t *testing.T) {
	cases := map[string]struct {
		args []string
		want string
	}{
		"all": {args: []string{"repo", "get"}, want: `
NAME             STATUS     LAST MAINTENANCE
blog-default-2   NotReady   ` + localTime(broken()) + `
shop-default-1   Ready      <never>
`},
		"one by its namespace": {args: []string{"repo", "get", "shop"}, want: `
NAME             STATUS   LAST MAINTENANCE
shop-default-1   Ready    <never>
`},
		"a label selector": {args: []string{"repo", "get", "-l", "velero.io/storage-location=default"}, want: `
NAME             STATUS   LAST MAINTENANCE
shop-default-1   Ready    <never>
`},
		"all columns": {args: []string{"repo", "get", "blog", "-o", "wide"}, want: `
NAME             STATUS     LAST MAINTENANCE` + strings.Repeat(" ", len(localTime(broken()))-len("LAST MAINTENANCE")) +
			`   NAMESPACE   LOCATION   INTACT   LAST CHECK   UNLOCKED   AGE    REPOSITORY   MESSAGE
blog-default-2   NotReady   ` + localTime(broken()) +
			`   blog        default    False    <never>      Unknown    100d   <none>       the password is wrong
`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := newCluster(t, shop(), broken()).run(t.Context(), c.args...)
			if diff := cmp.Diff(c.want, "\n"+got.out); diff != "" || got.code != command.ExitOK {
				t.Errorf("exit code %d: %s\n%s", got.code, got.err, diff)
			}
		})
	}
}

// localTime returns the last maintenance in the local time zone.
func localTime(r *resticv1.ResticRepository) string {
	return r.Status.LastMaintenanceTime.Local().Format("2006-01-02 15:04:05 -0700 MST")
}

func TestGetPrintsObjects(t *testing.T) {
	world := newCluster(t, shop(), broken())
	one := world.run(t.Context(), "repo", "get", "shop-default-1", "-o", "yaml")
	if !strings.HasPrefix(one.out, "apiVersion: restic.velero.io/v1\nkind: ResticRepository\n") {
		t.Errorf("one is %s", one.out)
	}
	all := world.run(t.Context(), "repo", "get", "-o", "json")
	for _, part := range []string{`"kind": "List"`, `"kind": "ResticRepository"`, "blog-default-2", "shop-default-1"} {
		if !strings.Contains(all.out, part) {
			t.Errorf("the list does not contain %s:\n%s", part, all.out)
		}
	}
	none := newCluster(t, velero()).run(t.Context(), "repo", "get", "-o", "json")
	if !strings.Contains(none.out, `"items": []`) || none.code != command.ExitOK {
		t.Errorf("none is %+v", none)
	}
}

func TestNoRepositories(t *testing.T) {
	const first = "There are no repositories in namespace velero: the first backup of a volume creates one.\n"
	for name, test := range map[string]struct {
		objects []client.Object
		args    []string
		code    command.ExitCode
		says    string
	}{
		"get":                 {[]client.Object{velero()}, []string{"get"}, command.ExitOK, first},
		"get with a selector": {[]client.Object{velero(), shop()}, []string{"get", "-l", "a=b"}, command.ExitOK, "with these labels in namespace velero"},
		"check":               {[]client.Object{velero(), agents(3), leader()}, []string{"check", "--all"}, command.ExitOK, first},
		"in a namespace without Velero": {
			nil, []string{"get"}, command.ExitFailure, "there is no Velero in namespace velero\nnext:  select its namespace with -n",
		},
		"as JSON in a namespace without Velero": {nil, []string{"get", "-o", "json"}, command.ExitFailure, "there is no Velero in namespace velero"},
		"with a selector in a namespace without Velero": {
			nil, []string{"get", "-l", "a=b"}, command.ExitFailure, "there is no Velero in namespace velero",
		},
		"check in a namespace without Velero": {
			[]client.Object{agents(3), leader()}, []string{"check", "--all"}, command.ExitFailure, "there is no Velero in namespace velero",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := newCluster(t, test.objects...).run(t.Context(), append([]string{"repo"}, test.args...)...)
			if got.code != test.code || got.out != "" || !strings.Contains(got.err, test.says) {
				t.Errorf("got %+v, want %q", got, test.says)
			}
		})
	}
}

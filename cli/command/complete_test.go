// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package command_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/velero-restic/velero-plugin-for-restic/cli/command"
)

const kubeconfig = `apiVersion: v1
kind: Config
clusters: [{name: here, cluster: {server: "https://192.0.2.1"}}]
contexts:
- {name: production, context: {cluster: here}}
- {name: desk, context: {cluster: here}}
current-context: desk
`

// completed returns what completion offers for a program whose commands take ConfigMaps and namespaces.
func completed(t *testing.T, funcs interceptor.Funcs, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path, []byte(kubeconfig), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", path)
	var out bytes.Buffer
	env := command.NewEnvironment(genericiooptions.IOStreams{Out: &out, ErrOut: &bytes.Buffer{}}, command.Screen{}, "velero")
	env.NewClient = func(*rest.Config) (client.WithWatch, error) {
		of := func(namespace, name string) client.Object {
			return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
		}
		return fake.NewClientBuilder().WithObjects(of("velero", "a"), of("velero", "b"), of("shop", "c"),
			&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}},
			&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "velero"}}).WithInterceptorFuncs(funcs).Build(), nil
	}
	root := &cobra.Command{Use: command.Program}
	env.AddFlags(root)
	configMaps := func() client.ObjectList { return &corev1.ConfigMapList{} }
	for use, complete := range map[string]cobra.CompletionFunc{
		"one": env.CompleteNames(false, configMaps), "some": env.CompleteNames(true, configMaps),
		"in": env.CompleteNamespaces(true),
	} {
		root.AddCommand(&cobra.Command{
			Use: use, ValidArgsFunction: complete, RunE: func(*cobra.Command, []string) error { return nil },
		})
	}
	command.Execute(t.Context(), env, root, append([]string{"__complete"}, args...))
	return out.String()
}

func TestCompletion(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"names in Velero's namespace":          {[]string{"one", ""}, "a\nb\n:4\n"},
		"names in the namespace of -n":         {[]string{"one", "-n", "shop", ""}, "c\n:4\n"},
		"only the first argument":              {[]string{"one", "a", ""}, ":4\n"},
		"each argument, without repetition":    {[]string{"some", "a", ""}, "b\n:4\n"},
		"namespaces":                           {[]string{"in", ""}, "shop\nvelero\n:4\n"},
		"namespaces for -n":                    {[]string{"one", "-n", ""}, "shop\nvelero\n:4\n"},
		"a namespace that is also an argument": {[]string{"in", "shop", "--namespace", ""}, "shop\nvelero\n:4\n"},
		"contexts for --context":               {[]string{"one", "--context", ""}, "desk\nproduction\n:4\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, completed(t, interceptor.Funcs{}, test.args...)); diff != "" {
				t.Errorf("offered (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCompletionTimesOut(t *testing.T) {
	silent := interceptor.Funcs{List: func(ctx context.Context, _ client.WithWatch, _ client.ObjectList,
		_ ...client.ListOption,
	) error {
		<-ctx.Done()
		return ctx.Err()
	}}
	for _, args := range [][]string{{"one", ""}, {"in", ""}, {"one", "-n", ""}} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			if got := completed(t, silent, args...); got != ":4\n" || time.Since(start) > 3*time.Second {
				t.Errorf("%q: after %s it offers %q", args, time.Since(start), got)
			}
		})
	}
}

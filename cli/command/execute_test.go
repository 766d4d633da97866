// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package command_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/cli/command"
)

// notServed returns the error of an API server that does not serve the kind.
func notServed(group, resource string) error {
	return apierrors.NewGenericServerResponse(404, "get", schema.GroupResource{Group: group, Resource: resource}, "",
		"404 page not found", 0, true)
}

func TestExecute(t *testing.T) {
	resource := schema.GroupResource{Group: resticv1.GroupName, Resource: resticv1.ResourceResticRepositories}
	pods := schema.GroupResource{Resource: "pods"}
	refused := errors.New(`User "ann" cannot list resource "resticrepositories" in API group "restic.velero.io" in ` +
		`the namespace "velero"`)
	cases := map[string]struct {
		args []string
		err  error
		code command.ExitCode
		says []string
	}{
		"success":                       {code: command.ExitOK},
		"an unknown flag":               {args: []string{"--nope"}, code: command.ExitUsage, says: []string{"--nope", "next:  see 'kubectl velero-restic do --help'"}},
		"too many arguments":            {args: []string{"more"}, code: command.ExitUsage, says: []string{"--help"}},
		"flags that exclude each other": {args: []string{"--a", "--b"}, code: command.ExitUsage, says: []string{"[a b]"}},
		"a plain error":                 {err: errors.New("broken"), code: command.ExitFailure, says: []string{"error: broken\n"}},
		"an error with escape sequences": {
			err: command.NewError(errors.New("file a\x1b[2J\nb\u009bc"), "first\x1b[2J\nsecond"), code: command.ExitFailure,
			says: []string{"error: file a?[2J b?c\nnext:  first?[2J\n       second\n"},
		},
		"damage":                     {err: command.ProblemError(errors.New("damaged")), code: command.ExitProblemFound, says: []string{"error: damaged\n"}},
		"a problem without an error": {err: command.ProblemError(nil), code: command.ExitProblemFound},
		"a timeout": {
			err: fmt.Errorf("following: %w", command.TimeoutError(errors.New("late"), "it goes on")), code: command.ExitTimeout,
			says: []string{"error: late\nnext:  it goes on\n"},
		},
		"a canceled context": {err: context.Canceled, code: command.ExitInterrupted, says: []string{"interrupted"}},
		"a missing permission": {
			err: fmt.Errorf("listing: %w", apierrors.NewForbidden(resource, "", refused)), code: command.ExitFailure,
			says: []string{
				`permission to list resource "resticrepositories"`, `namespace "velero"`, "examples/cli",
				"kubectl -n velero create rolebinding NAME --clusterrole=velero-restic-operator",
			},
		},
		"a missing permission for the cluster": {
			err: fmt.Errorf("listing: %w", apierrors.NewForbidden(pods, "", errors.New(`User "ann" cannot list resource `+
				`"pods" in API group "" at the cluster scope`))), code: command.ExitFailure,
			says: []string{
				`permission to list resource "pods"`, "kubectl apply -k examples/cli",
				"kubectl create clusterrolebinding NAME --clusterrole=velero-restic-coverage",
			},
		},
		"a missing permission in another namespace": {
			err: apierrors.NewForbidden(pods, "", errors.New(`User "ann" cannot list resource "pods" in API group "" in `+
				`the namespace "velero-2"`)), code: command.ExitFailure,
			says: []string{"kubectl create clusterrolebinding NAME --clusterrole=velero-restic-coverage"},
		},
		"a missing permission without details": {
			err: apierrors.NewForbidden(pods, "", errors.New("no")), code: command.ExitFailure,
			says: []string{"next:  examples/cli has roles", "kubectl -n velero create rolebinding NAME"},
		},
		"discovery does not find the kind": {
			err: fmt.Errorf("reading cluster state: %w", &meta.NoKindMatchError{
				GroupKind: schema.GroupKind{Group: resource.Group, Kind: "PodVolumeBackup"}, SearchedVersions: []string{"v1"},
			}), code: command.ExitFailure, says: []string{
				"the cluster has no PodVolumeBackup.restic.velero.io: restic for Velero is not installed\n",
				"next:  check that this is the right cluster", "kubectl apply -k examples/base",
			},
		},
		"discovery does not find the resource": {
			err: &meta.NoResourceMatchError{
				PartialResource: schema.GroupVersionResource{Group: "velero.io", Version: "v1", Resource: "schedules"},
			}, code: command.ExitFailure, says: []string{"schedules.velero.io: Velero is not installed", "velero install"},
		},
		"discovery does not find the group": {
			err: fmt.Errorf("reading cluster state: %w", &apiutil.ErrResourceDiscoveryFailed{
				schema.GroupVersion{Group: "velero.io", Version: "v1"}: &meta.NoResourceMatchError{
					PartialResource: schema.GroupVersionResource{Group: "velero.io", Version: "v1"},
				},
			}), code: command.ExitFailure,
			says: []string{"the cluster has no velero.io: Velero is not installed\n", "velero install"},
		},
		"invalid credentials": {
			err: apierrors.NewUnauthorized("who are you"), code: command.ExitFailure, says: []string{"log in again"},
		},
		"this project is not installed": {
			err: notServed(resource.Group, resource.Resource), code: command.ExitFailure,
			says: []string{"restic for Velero is not installed", "kubectl apply -k examples/base"},
		},
		"Velero is not installed": {
			err: notServed("velero.io", "backups"), code: command.ExitFailure, says: []string{"Velero is not installed"},
		},
		"an object does not exist, its kind does": {
			err: apierrors.NewNotFound(resource, "shop"), code: command.ExitFailure, says: []string{`"shop" not found`},
		},
		"the API server cannot be reached": {
			err:  &url.Error{Op: "Get", URL: "https://192.0.2.1", Err: &net.OpError{Op: "dial", Err: errors.New("refused")}},
			code: command.ExitFailure, says: []string{"cannot be reached", "--kubeconfig"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Setenv("KUBECONFIG", "/nowhere")
			var out, errOut bytes.Buffer
			env := command.NewEnvironment(genericiooptions.IOStreams{Out: &out, ErrOut: &errOut}, command.Screen{}, "velero")
			env.Program = "kubectl velero-restic"
			do := &cobra.Command{
				Use: "do", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error { return c.err },
			}
			do.Flags().Bool("a", false, "")
			do.Flags().Bool("b", false, "")
			do.MarkFlagsMutuallyExclusive("a", "b")
			root := command.Group(&cobra.Command{Use: command.Program}, do)
			code := command.Execute(t.Context(), env, root, append([]string{"do"}, c.args...))
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			for _, part := range c.says {
				if !strings.Contains(errOut.String(), part) {
					t.Errorf("the error does not contain %q:\n%s", part, errOut.String())
				}
			}
			if len(c.says) == 0 && errOut.Len() > 0 {
				t.Errorf("unexpected error: %s", errOut.String())
			}
		})
	}
}

func TestTable(t *testing.T) {
	table := &command.Table{Header: []string{"Name", "Status", "Message"}}
	table.Add(command.Text("shop"), command.Styled(command.Good, "Ready"), command.Text("two\nlines\x1b\u009b"))
	// cspell:ignore größe
	table.Add(command.Text("größe"), command.Styled(command.Bad, "NotReady"))
	cases := map[string]struct {
		screen  command.Screen
		noColor bool
		want    string
	}{
		"without colors": {want: "NAME    STATUS     MESSAGE\n" +
			"shop    Ready      two lines??\n" +
			"größe   NotReady   <none>\n"},
		"with colors, which take no space": {screen: command.Screen{Terminal: true, Color: true}, want: "" +
			"\x1b[1mNAME\x1b[0m    \x1b[1mSTATUS\x1b[0m     \x1b[1mMESSAGE\x1b[0m\n" +
			"shop    \x1b[32mReady\x1b[0m      two lines??\n" +
			"größe   \x1b[31mNotReady\x1b[0m   <none>\n"},
		"on a terminal with --no-color": {
			screen: command.Screen{Terminal: true, Color: true}, noColor: true,
			want: "NAME    STATUS     MESSAGE\nshop    Ready      two lines??\ngröße   NotReady   <none>\n",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			env := command.NewEnvironment(genericiooptions.IOStreams{}, c.screen, "velero")
			env.NoColor = c.noColor
			if err := table.Write(&out, env.Palette()); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, out.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNotFoundErrorSortsBySimilarity(t *testing.T) {
	err := command.NotFoundError("ResticRepository", "velero", "shop", []string{"blog-1", "shipping-1", "shop-1"})
	var end *command.Error
	if !errors.As(err, &end) || end.Next != "there are: shop-1, shipping-1, blog-1" {
		t.Errorf("got %+v", err)
	}
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package coverage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/velero-restic/velero-plugin-for-restic/cli/command"
	"github.com/velero-restic/velero-plugin-for-restic/internal/coverage"
)

func now() time.Time { return time.Date(2026, 11, 22, 22, 0, 0, 0, time.UTC) }

func claims() []coverage.State {
	return []coverage.State{
		{
			Namespace: "bar", Claim: "data", Reason: coverage.ReasonNoSchedule, Message: "no schedule has namespace bar",
		},
		{
			Namespace: "foo", Claim: "data", Protected: true, Method: coverage.MethodRestic, Schedule: "nightly",
			Pod: "web", Volume: "data", LastSuccess: now().Add(-5 * time.Hour), Bytes: 1234, Duration: 90 * time.Second,
		},
		{Namespace: "foo", Claim: "old", Method: coverage.MethodRestic, Reason: coverage.ReasonStale, Schedule: "nightly"},
		{Namespace: "foo", Claim: "scratch", Reason: coverage.ReasonIgnored},
		{Namespace: "foo", Claim: "snap", Protected: true, Method: coverage.MethodSnapshot, Schedule: "nightly"},
	}
}

// newEnvironment is the world of a command on a cluster with these objects, and what it prints.
func newEnvironment(t *testing.T, objects ...client.Object) (env *command.Environment, out, errOut *bytes.Buffer) {
	t.Helper()
	out, errOut = &bytes.Buffer{}, &bytes.Buffer{}
	streams := genericiooptions.IOStreams{In: strings.NewReader(""), Out: out, ErrOut: errOut}
	env = command.NewEnvironment(streams, command.Screen{}, "velero")
	server := "http://127.0.0.1:1"
	env.Kube.APIServer = &server
	env.Clock = testclock.NewFakeClock(now())
	scheme, err := command.NewScheme()
	if err != nil {
		t.Fatal(err)
	}
	cluster := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()
	env.NewClient = func(*rest.Config) (client.WithWatch, error) { return cluster, nil }
	return env, out, errOut
}

// run is the command on a cluster with these claims.
func run(t *testing.T, states source, args ...string) (code command.ExitCode, out, errOut string) {
	t.Helper()
	env, stdout, stderr := newEnvironment(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "foo"}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "empty"}})
	code = command.Execute(t.Context(), env, newCommand(env, states), args)
	return code, stdout.String(), stderr.String()
}

func fixed(context.Context, *command.Environment, time.Duration, time.Duration) ([]coverage.State, error) {
	return claims(), nil
}

func TestTable(t *testing.T) {
	code, out, _ := run(t, fixed)
	want := `NAMESPACE   CLAIM     STATE         REASON       METHOD     SCHEDULE   LAST SUCCESS   SIZE
bar         data      Unprotected   NoSchedule   <none>     <none>     <none>         <none>
foo         data      Protected     <none>       restic     nightly    5h ago         1.2 KiB
foo         old       Unprotected   Stale        restic     nightly    <none>         <none>
foo         scratch   Ignored       Ignored      <none>     <none>     <none>         <none>
foo         snap      Protected     <none>       snapshot   nightly    <none>         <none>

2 of 4 claims protected (1 restic, 1 snapshot), 2 not: 1 NoSchedule, 1 Stale; 1 ignored
`
	if diff := cmp.Diff(want, out); diff != "" || code != command.ExitOK {
		t.Errorf("exit code %d, table (-want +got):\n%s", code, diff)
	}
	_, out, _ = run(t, fixed, "-o", "wide")
	for _, part := range []string{"TOOK", "MESSAGE", "no schedule has namespace bar", "90s", "web   "} {
		if !strings.Contains(out, part) {
			t.Errorf("the wide table does not say %q:\n%s", part, out)
		}
	}
}

func TestFilters(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		want []string
		code command.ExitCode
	}{
		"all":                      {nil, []string{"bar/data", "foo/data", "foo/old", "foo/scratch", "foo/snap"}, 0},
		"one namespace":            {[]string{"bar"}, []string{"bar/data"}, 0},
		"two namespaces":           {[]string{"bar", "foo", "--unprotected"}, []string{"bar/data", "foo/old"}, 0},
		"a namespace without any":  {[]string{"empty"}, nil, 0},
		"a reason":                 {[]string{"--reason=Stale,LastFailed"}, []string{"foo/old"}, 0},
		"a method":                 {[]string{"--method", "snapshot"}, []string{"foo/snap"}, 0},
		"something is unprotected": {[]string{"foo", "--method=restic", "--exit-code"}, []string{"foo/data", "foo/old"}, command.ExitProblemFound},
		"all are protected or ignored": {
			[]string{"--exit-code", "--reason=Ignored"}, []string{"foo/scratch"}, 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errOut := run(t, fixed, append(test.args, "-o", "json")...)
			var report Report
			if err := json.Unmarshal([]byte(out), &report); err != nil {
				t.Fatalf("%v: %s%s", err, out, errOut)
			}
			var got []string
			for _, state := range report.Claims {
				got = append(got, state.Namespace+"/"+state.Claim)
			}
			if diff := cmp.Diff(test.want, got); diff != "" || code != test.code || report.Summary.Total != len(got) {
				t.Errorf("exit code %d, %d in the summary, claims (-want +got):\n%s", code, report.Summary.Total, diff)
			}
		})
	}
	_, out, _ := run(t, fixed, "empty", "-o", "yaml")
	if !strings.HasPrefix(out, "claims: []\nsummary:\n") {
		t.Errorf("no claims as YAML: %s", out)
	}
}

func TestErrors(t *testing.T) {
	failing := func(err error) source {
		return func(context.Context, *command.Environment, time.Duration, time.Duration) ([]coverage.State, error) {
			return nil, err
		}
	}
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "persistentvolumeclaims"}, "", errors.New(
		`User "u" cannot list resource "persistentvolumeclaims" in API group "" at the cluster scope`))
	for name, test := range map[string]struct {
		states source
		args   []string
		code   command.ExitCode
		says   []string
	}{
		"a namespace that does not exist": {fixed, []string{"fo"}, command.ExitFailure, []string{`no namespace "fo"`, "there are: foo"}},
		"no such reason":                  {fixed, []string{"--reason=stale"}, command.ExitUsage, []string{`no reason "stale"`, "Stale"}},
		"no such method":                  {fixed, []string{"--method=kopia"}, command.ExitUsage, []string{`no method "kopia"`, "node-agent"}},
		"no time":                         {fixed, []string{"--timeout=0"}, command.ExitUsage, []string{"--timeout"}},
		"older than now":                  {fixed, []string{"--stale-after=-1h"}, command.ExitUsage, []string{"--stale-after"}},
		"a right is missing": {
			failing(forbidden), nil, command.ExitFailure, []string{"permission to list resource \"persistentvolumeclaims\""},
		},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errOut := run(t, test.states, test.args...)
			if code != test.code || out != "" {
				t.Errorf("exit code %d, want %d; it printed %q", code, test.code, out)
			}
			for _, part := range test.says {
				if !strings.Contains(errOut, part) {
					t.Errorf("it does not say %q: %s", part, errOut)
				}
			}
		})
	}
}

// TestUnreachable asks an API server that is not there.
func TestUnreachable(t *testing.T) {
	env, out, errOut := newEnvironment(t)
	env.NewClient = command.NewEnvironment(env.IOStreams, env.Screen, "velero").NewClient
	begun := time.Now()
	code := command.Execute(t.Context(), env, Command(env), []string{"--timeout=10s"})
	if code != command.ExitFailure || out.Len() > 0 || !strings.Contains(errOut.String(), "cannot be reached") ||
		time.Since(begun) > 5*time.Second {
		t.Errorf("after %s exit code %d, %q, %s", time.Since(begun), code, out, errOut)
	}
}

func TestCompletion(t *testing.T) {
	if _, out, _ := run(t, fixed, "__complete", "foo", ""); out != "empty\n:4\n" {
		t.Errorf("behind foo it offers %q", out)
	}
}

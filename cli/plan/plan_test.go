// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package plan

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/velero-restic/velero-plugin-for-restic/cli/command"
	"github.com/velero-restic/velero-plugin-for-restic/internal/coverage"
	"github.com/velero-restic/velero-plugin-for-restic/internal/inventory"
	"github.com/velero-restic/velero-plugin-for-restic/internal/scope"
	"github.com/velero-restic/velero-plugin-for-restic/internal/selection"
)

// run is the command on a cluster that answers so, and what the cluster was asked.
func run(
	t *testing.T, pods []coverage.Preview, failure error, args ...string,
) (code command.ExitCode, out, errOut string, asked *inventory.PlanRequest) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	streams := genericiooptions.IOStreams{In: strings.NewReader(""), Out: &stdout, ErrOut: &stderr}
	env := command.NewEnvironment(streams, command.Screen{}, "velero")
	cmd := newCommand(env, func(_ context.Context, _ *command.Environment, request inventory.PlanRequest, _ time.Duration,
	) ([]coverage.Preview, error) {
		asked = &request
		return pods, failure
	})
	code = command.Execute(t.Context(), env, cmd, args)
	return code, stdout.String(), stderr.String(), asked
}

func podNamed(name string) coverage.Pod {
	return coverage.Pod{Pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "foo", Name: name}}}
}

func pods() []coverage.Preview {
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "web-claim"}}
	volume := func(method coverage.Method, notTaken string, decision selection.Decision) coverage.VolumePreview {
		return coverage.VolumePreview{Decision: decision, Method: method, NotTaken: notTaken}
	}
	return []coverage.Preview{
		{Pod: podNamed("job"), Excluded: scope.ReasonSelector, Message: "the pod has ended"},
		{Pod: podNamed("web"), Volumes: []coverage.VolumePreview{
			volume(coverage.MethodRestic, "", selection.Decision{
				Volume: "data", Asked: true, How: selection.HowAnnotation, Take: true, Claim: claim,
			}),
			volume(coverage.MethodRestic, "", selection.Decision{
				Volume: "cache", Asked: true, How: selection.HowRule, Rule: "caches", Take: true,
			}),
			volume("", "", selection.Decision{
				Volume: "host", Asked: true, How: selection.HowAnnotation, Reason: selection.ReasonHostPath,
				Message: "it is a hostPath volume",
			}),
			volume(coverage.MethodSnapshot, "", selection.Decision{
				Volume: "disk", Reason: selection.ReasonNotAsked, Message: "nothing asks for its backup",
			}),
			volume("", "", selection.Decision{
				Volume: "kube-api-access-x7k2p", Reason: selection.ReasonNotAsked, Message: "nothing asks for its backup",
			}),
		}},
	}
}

func TestTable(t *testing.T) {
	code, out, _, _ := run(t, pods(), nil, "foo")
	want := `POD   VOLUME   BACKED UP BY   SELECTED BY   REASON        MESSAGE
job   <none>   nothing        <none>        NotInBackup   the pod has ended
web   data     restic         annotation    <none>        <none>
web   cache    restic         rule caches   <none>        <none>
web   host     nothing        annotation    HostPath      it is a hostPath volume
web   disk     snapshot       <none>        NotAsked      nothing asks for its backup

restic backs up 2 of 4 volumes, other methods 1; 1 selected and not backed up
`
	if diff := cmp.Diff(want, out); diff != "" || code != command.ExitOK {
		t.Errorf("exit code %d, table (-want +got):\n%s", code, diff)
	}
	if code, _, _, _ := run(t, pods(), nil, "foo", "--exit-code"); code != command.ExitProblemFound {
		t.Errorf("with a selected volume that is not backed up, the exit code is %d", code)
	}
	if code, _, _, _ := run(t, pods()[:1], nil, "foo", "--exit-code"); code != command.ExitOK {
		t.Errorf("without such a volume, the exit code is %d", code)
	}
	if _, out, _, _ := run(t, nil, nil, "foo"); out != "There are no pods in namespace foo.\n" {
		t.Errorf("without pods it says %q", out)
	}
	_, out, _, _ = run(t, pods(), nil, "foo", "-o", "wide")
	if !strings.Contains(out, "web-claim") || !strings.Contains(out, "kube-api-access-x7k2p") {
		t.Errorf("the wide table does not show everything:\n%s", out)
	}
}

// excludedPod returns a pod that is not in the backup. It has a volume for each way of selecting one.
func excludedPod(name string, reason scope.Reason, hows ...selection.How) coverage.Preview {
	pod := coverage.Preview{Pod: podNamed(name), Excluded: reason, Message: "pod " + name + " is not in the backup"}
	for _, how := range hows {
		pod.Volumes = append(pod.Volumes, coverage.VolumePreview{
			Decision: selection.Decision{Volume: string(how), Asked: true, How: how, Take: true}, NotTaken: pod.Message,
		})
	}
	return pod
}

// TestOutside counts as refused what is asked for in a pod that the backup does not have, unless nobody expects it
// there.
func TestOutside(t *testing.T) {
	changed := func(pod coverage.Preview, change func(*coverage.Preview)) coverage.Preview {
		change(&pod)
		return pod
	}
	included := changed(excludedPod("in", "", selection.HowAnnotation), func(p *coverage.Preview) {
		p.Volumes[0].Method = coverage.MethodRestic
	})
	ask := selection.HowAnnotation
	for name, test := range map[string]struct {
		pods []coverage.Preview
		want int
	}{
		"its namespace is not in it":      {[]coverage.Preview{excludedPod("web", scope.ReasonNamespace, ask)}, 1},
		"pods are not in it":              {[]coverage.Preview{excludedPod("web", scope.ReasonResource, ask)}, 1},
		"no selector matches it":          {[]coverage.Preview{included, excludedPod("web", scope.ReasonSelector, ask, selection.HowRule)}, 2},
		"it has the label":                {[]coverage.Preview{excludedPod("web", scope.ReasonLabel, ask)}, 0},
		"its namespace has the label":     {[]coverage.Preview{excludedPod("web", scope.ReasonNamespaceLabel, ask)}, 0},
		"it is being deleted":             {[]coverage.Preview{excludedPod("web", scope.ReasonDeleted, ask)}, 0},
		"the default asks for some":       {[]coverage.Preview{included, excludedPod("web", scope.ReasonSelector, selection.HowDefault, selection.HowPolicy)}, 0},
		"the default asks for these":      {[]coverage.Preview{excludedPod("web", scope.ReasonSelector, selection.HowDefault, selection.HowPolicy)}, 2},
		"the default asks in no schedule": {[]coverage.Preview{excludedPod("web", scope.ReasonNamespace, selection.HowDefault)}, 1},
		"it has ended": {[]coverage.Preview{changed(excludedPod("job", scope.ReasonNamespace, ask), func(p *coverage.Preview) {
			p.Pod.Status.Phase = corev1.PodSucceeded
		})}, 0},
		"nothing is asked for": {[]coverage.Preview{changed(excludedPod("web", scope.ReasonNamespace, ask), func(p *coverage.Preview) {
			p.Volumes[0].Decision = selection.Decision{Volume: "data", Reason: selection.ReasonNotAsked}
		})}, 0},
		"a snapshot takes it, whose claim is in it": {[]coverage.Preview{
			changed(excludedPod("web", scope.ReasonResource, ask), func(p *coverage.Preview) {
				p.Volumes[0].Method = coverage.MethodSnapshot
			}),
		}, 0},
		"restic would not take it either": {[]coverage.Preview{
			changed(excludedPod("web", scope.ReasonNamespace, ask), func(p *coverage.Preview) {
				p.Volumes[0].Take, p.Volumes[0].Reason = false, selection.ReasonHostPath
			}),
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			if got := newReport(test.pods, false).Summary.Missed; got != test.want {
				t.Errorf("%d selected volumes are not backed up, want %d", got, test.want)
			}
			wanted := map[bool]command.ExitCode{true: command.ExitProblemFound, false: command.ExitOK}[test.want > 0]
			if code, _, _, _ := run(t, test.pods, nil, "foo", "--exit-code"); code != wanted {
				t.Errorf("exit code %d, want %d", code, wanted)
			}
		})
	}
}

func TestTableOfPodsOutside(t *testing.T) {
	answer := []coverage.Preview{
		excludedPod("hidden", scope.ReasonLabel, selection.HowAnnotation), excludedPod("web", scope.ReasonSelector, selection.HowAnnotation),
	}
	_, out, _, _ := run(t, answer, nil, "foo")
	want := `POD      VOLUME       BACKED UP BY   SELECTED BY   REASON        MESSAGE
hidden   <none>       nothing        <none>        NotInBackup   pod hidden is not in the backup
web      annotation   nothing        annotation    NotInBackup   pod web is not in the backup

restic backs up 0 of 2 volumes; 1 selected and not backed up
`
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

func TestJSON(t *testing.T) {
	_, out, _, _ := run(t, pods(), nil, "foo", "-o", "json")
	var report Report
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(newReport(pods(), true), report); diff != "" {
		t.Errorf("it does not come back (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Summary{Volumes: 5, Restic: 2, Others: 1, Missed: 1}, report.Summary); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
}

func TestRequest(t *testing.T) {
	yes, no := true, false
	for name, test := range map[string]struct {
		args []string
		want inventory.PlanRequest
	}{
		"as velero backup create does without flags": {
			[]string{"foo"}, inventory.PlanRequest{Namespace: "foo", Spec: velerov1.BackupSpec{IncludedNamespaces: []string{"*"}}},
		},
		"a schedule": {
			[]string{"foo/web", "--from-schedule", " nightly "},
			inventory.PlanRequest{Namespace: "foo", Pod: "web", Schedule: "nightly"},
		},
		"every flag": {
			[]string{
				"foo", "--include-namespaces=foo,bar", "--exclude-namespaces=baz", "--include-resources=pods,pvc",
				"--exclude-resources=secrets", "-l", "app=web", "--default-volumes-to-fs-backup", "--snapshot-volumes=false",
				"--snapshot-move-data", "--include-cluster-resources", "--storage-location=cold",
				"--volume-snapshot-locations=a,b", "--resource-policies-configmap=mine",
			},
			inventory.PlanRequest{Namespace: "foo", Spec: velerov1.BackupSpec{
				IncludedNamespaces: []string{"foo", "bar"}, ExcludedNamespaces: []string{"baz"},
				IncludedResources: []string{"pods", "pvc"}, ExcludedResources: []string{"secrets"},
				LabelSelector:            &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
				DefaultVolumesToFsBackup: &yes, SnapshotVolumes: &no, SnapshotMoveData: &yes, IncludeClusterResources: &yes,
				StorageLocation: "cold", VolumeSnapshotLocations: []string{"a", "b"},
				ResourcePolicy: &corev1.TypedLocalObjectReference{Kind: "configmap", Name: "mine"},
			}},
		},
		"the flags by scope, and alternatives": {
			[]string{
				"foo", "--include-cluster-scoped-resources=a", "--exclude-cluster-scoped-resources=b",
				"--include-namespace-scoped-resources=c", "--exclude-namespace-scoped-resources=d",
				"--or-selector=app=web or app=db",
			},
			inventory.PlanRequest{Namespace: "foo", Spec: velerov1.BackupSpec{
				IncludedNamespaces:             []string{"*"},
				IncludedClusterScopedResources: []string{"a"}, ExcludedClusterScopedResources: []string{"b"},
				IncludedNamespaceScopedResources: []string{"c"}, ExcludedNamespaceScopedResources: []string{"d"},
				OrLabelSelectors: []*metav1.LabelSelector{
					{MatchLabels: map[string]string{"app": "web"}}, {MatchLabels: map[string]string{"app": "db"}},
				},
			}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, errOut, asked := run(t, nil, nil, test.args...)
			if code != command.ExitOK {
				t.Fatalf("exit code %d: %s", code, errOut)
			}
			if diff := cmp.Diff(test.want, *asked, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	for name, test := range map[string]struct {
		args    []string
		failure error
		code    command.ExitCode
		says    string
	}{
		"no argument":           {nil, nil, command.ExitUsage, "NAMESPACE or NAMESPACE/POD"},
		"an argument too many":  {[]string{"a", "b"}, nil, command.ExitUsage, "got 2"},
		"no pod":                {[]string{"foo/"}, nil, command.ExitUsage, `"foo/" is neither`},
		"no namespace":          {[]string{"/web"}, nil, command.ExitUsage, `"/web" is neither`},
		"too deep":              {[]string{"a/b/c"}, nil, command.ExitUsage, `"a/b/c" is neither`},
		"an empty schedule":     {[]string{"foo", "--from-schedule="}, nil, command.ExitUsage, "names no schedule"},
		"a schedule and a flag": {[]string{"foo", "--from-schedule=x", "-l", "a=b"}, nil, command.ExitUsage, "--selector cannot"},
		"two kinds of selector": {[]string{"foo", "-l", "a=b", "--or-selector=a=b"}, nil, command.ExitUsage, "--or-selector"},
		"old and new flags": {
			[]string{"foo", "--include-resources=pods", "--exclude-namespace-scoped-resources=x"}, nil, command.ExitUsage, "scope",
		},
		"a selector that is none": {[]string{"foo", "-l", "a b"}, nil, command.ExitUsage, "selector"},
		"no time":                 {[]string{"foo", "--timeout=0"}, nil, command.ExitUsage, "--timeout"},
		"what does not exist": {
			[]string{"foo/web"}, fmt.Errorf("pod foo/web: %w", inventory.ErrNotFound), command.ExitFailure, "pod foo/web: not found",
		},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errOut, _ := run(t, nil, test.failure, test.args...)
			if code != test.code || out != "" || !strings.Contains(errOut, test.says) {
				t.Errorf("exit code %d, want %d, printed %q, said %q, want %q", code, test.code, out, errOut, test.says)
			}
		})
	}
}

func TestCompletion(t *testing.T) {
	for argument, want := range map[string]string{"": "foo\n:4\n", "foo": ":4\n"} {
		var out bytes.Buffer
		env := command.NewEnvironment(genericiooptions.IOStreams{Out: &out, ErrOut: &bytes.Buffer{}}, command.Screen{}, "velero")
		server := "http://127.0.0.1:1"
		env.Kube.APIServer = &server
		env.NewClient = func(*rest.Config) (client.WithWatch, error) {
			foo := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "foo"}}
			return fake.NewClientBuilder().WithObjects(foo).Build(), nil
		}
		args := []string{"__complete"}
		if argument != "" {
			args = append(args, argument)
		}
		command.Execute(t.Context(), env, Command(env), append(args, ""))
		if out.String() != want {
			t.Errorf("behind %q it offers %q, want %q", argument, out.String(), want)
		}
	}
}

// TestUnreachable asks an API server that is not there.
func TestUnreachable(t *testing.T) {
	var out, errOut bytes.Buffer
	env := command.NewEnvironment(genericiooptions.IOStreams{Out: &out, ErrOut: &errOut}, command.Screen{}, "velero")
	server := "http://127.0.0.1:1"
	env.Kube.APIServer = &server
	begun := time.Now()
	code := command.Execute(t.Context(), env, Command(env), []string{"foo", "--timeout=10s"})
	if code != command.ExitFailure || out.Len() > 0 || !strings.Contains(errOut.String(), "cannot be reached") ||
		time.Since(begun) > 5*time.Second {
		t.Errorf("after %s exit code %d, %q, %s", time.Since(begun), code, &out, &errOut)
	}
}

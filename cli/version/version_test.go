// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package version_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/velero-restic/velero-plugin-for-restic/cli/command"
	"github.com/velero-restic/velero-plugin-for-restic/cli/version"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	ours "github.com/velero-restic/velero-plugin-for-restic/internal/version"
)

// cluster is what the command asks.
type cluster struct {
	objects []client.Object
	funcs   interceptor.Funcs
	// color says that both streams are terminals.
	color bool
}

// ended is how the command ends.
type ended struct {
	code     command.ExitCode
	out, err string
}

func (c cluster) run(t *testing.T, args ...string) ended {
	t.Helper()
	scheme, err := command.NewScheme()
	if err != nil {
		t.Fatal(err)
	}
	var out, errOut bytes.Buffer
	streams := genericiooptions.IOStreams{Out: &out, ErrOut: &errOut}
	env := command.NewEnvironment(streams, command.Screen{Color: c.color}, "velero")
	env.ErrColor = c.color
	server := "https://192.0.2.1"
	env.Kube.APIServer = &server
	env.NewClient = func(*rest.Config) (client.WithWatch, error) {
		return fake.NewClientBuilder().WithScheme(scheme).WithObjects(c.objects...).WithInterceptorFuncs(c.funcs).Build(), nil
	}
	code := command.Execute(t.Context(), env, version.Command(env), args)
	return ended{code: code, out: out.String(), err: errOut.String()}
}

func meta(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: "velero", Name: name} }

// velero is its Deployment, with these images as its init containers.
func velero(image string, plugins ...string) client.Object {
	d := &appsv1.Deployment{ObjectMeta: meta("velero")}
	d.Spec.Template.Spec.Containers = []corev1.Container{{Name: "sidecar", Image: "x:1"}, {Name: "velero", Image: image}}
	for _, plugin := range plugins {
		d.Spec.Template.Spec.InitContainers = append(d.Spec.Template.Spec.InitContainers, corev1.Container{Image: plugin})
	}
	return d
}

// pod is one of the DaemonSet.
func pod(node, version string, ready corev1.ConditionStatus) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: meta("restic-" + node)}
	p.Labels = map[string]string{contract.AgentLabelKey: contract.AgentLabelValue}
	p.Spec.NodeName = node
	p.Spec.Containers = []corev1.Container{{Name: contract.DaemonSetName, Image: "agent:" + version}}
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}
	return p
}

// agent is a pod that is ready, and the Lease by which it tells its build.
func agent(node, version, restic string) []client.Object {
	lease := &coordinationv1.Lease{ObjectMeta: meta("restic-" + node)}
	lease.Annotations = map[string]string{
		contract.AnnotationVersion: version, contract.AnnotationResticVersion: restic,
	}
	return []client.Object{pod(node, version, corev1.ConditionTrue), lease}
}

// leads is the Lease of the leader.
func leads(node string) client.Object {
	lease := &coordinationv1.Lease{ObjectMeta: meta(contract.LeaderLeaseName)}
	lease.Spec.HolderIdentity = ptr.To(node)
	return lease
}

const (
	server = "velero/velero:v1.18.3"
	plugin = "registry:5000/velero/velero-plugin-for-restic:" // and the version
)

func all(groups ...[]client.Object) []client.Object {
	var objects []client.Object
	for _, group := range groups {
		objects = append(objects, group...)
	}
	return objects
}

func TestVersion(t *testing.T) {
	mine := ours.Version
	image := plugin + mine
	starting := []client.Object{pod("n3", mine, corev1.ConditionFalse)}
	this := "Client: " + mine + " (" + runtime.GOOS + "/" + runtime.GOARCH + ")\n"
	with := this + "Velero: v1.18.3 (image " + server + ")\nPlugin: " + mine + " (image " + image + ")\n"
	installed := []client.Object{velero(server, "velero/velero-plugin-for-aws:v1.14.3", image), leads("n2")}
	for name, test := range map[string]struct {
		objects []client.Object
		args    []string
		out     string
		err     string
	}{
		"all of one release": {
			objects: all(installed, agent("n1", mine, "0.19.1"), agent("n2", mine, "0.19.1")),
			out:     with + "Agents: " + mine + " (restic 0.19.1, 2 of 2 pods ready, node n2 leads)\n",
		},
		"agents that differ, the most first": {
			objects: all(installed, agent("n1", "v0.0.1", "0.18.0"), agent("n2", mine, "0.19.1"), agent("n3", mine, "0.19.1")),
			out: with + "Agents: " + mine + " (restic 0.19.1, 2 of 2 pods ready, node n2 leads)\n" +
				"Agents: v0.0.1 (restic 0.18.0, 1 of 1 pods ready)\n",
			err: "warning: agents run v0.0.1, this program is " + mine + ": use the same release\n" +
				"warning: the plugin is " + mine + ", agents run v0.0.1: they must be of the same release\n" +
				"warning: the agents differ: see kubectl -n velero rollout status daemonset/restic\n",
		},
		"an agent that has not told": {
			objects: all(installed, agent("n1", mine, "0.19.1"), starting),
			out: with + "Agents: " + mine + " (restic 0.19.1, 1 of 1 pods ready)\n" +
				"Agents: unknown (restic unknown, 0 of 1 pods ready)\n",
			err: "warning: restic-n3: no version is known yet: is the agent running? kubectl -n velero get pods\n" +
				"warning: the agents differ: see kubectl -n velero rollout status daemonset/restic\n",
		},
		"no agents": {
			objects: installed, out: with,
			err: "warning: there are no agents in namespace velero: kubectl apply -k examples/base\n",
		},
		"no plugin": {
			objects: all([]client.Object{velero(server, "velero/velero-plugin-for-aws:v1.14.3")}, agent("n1", mine, "0.19.1")),
			out: this + "Velero: v1.18.3 (image " + server + ")\nAgents: " + mine +
				" (restic 0.19.1, 1 of 1 pods ready)\n",
			err: "warning: Velero has no plugin for restic: velero plugin add velero/velero-plugin-for-restic:" + mine + "\n",
		},
		"images without a tag": {
			objects: all([]client.Object{velero("host:5000/velero@sha256:0123", "velero/velero-plugin-for-restic")},
				agent("n1", mine, "0.19.1")),
			out: this + "Velero: unknown (image host:5000/velero@sha256:0123)\n" +
				"Plugin: unknown (image velero/velero-plugin-for-restic)\n" +
				"Agents: " + mine + " (restic 0.19.1, 1 of 1 pods ready)\n",
		},
		"nothing": {
			out: this, err: "warning: there is no Velero in namespace velero: select its namespace with -n\n" +
				"warning: there are no agents in namespace velero: kubectl apply -k examples/base\n",
		},
		"of this program alone": {args: []string{"--client-only"}, out: this},
	} {
		t.Run(name, func(t *testing.T) {
			got := cluster{objects: test.objects}.run(t, test.args...)
			if diff := cmp.Diff(ended{out: test.out, err: test.err}, got, cmp.AllowUnexported(ended{})); diff != "" {
				t.Errorf("it ends (-want +got):\n%s", diff)
			}
		})
	}
}

func TestVersionAsJSON(t *testing.T) {
	objects := all([]client.Object{velero(server, plugin+ours.Version), leads("n1")}, agent("n1", "v0.0.1", "0.18.0"))
	got := cluster{objects: objects}.run(t, "-o", "json")
	var told struct {
		Client struct{ Version string }
		Velero struct{ Version, Image string }
		Plugin struct{ Version, Image string }
		Agents []struct {
			Pod, Node, Image, Version, Restic string
			Ready, Leader                     bool
		}
		Warnings []string
	}
	if err := json.Unmarshal([]byte(got.out), &told); err != nil || got.code != command.ExitOK || got.err != "" {
		t.Fatalf("%v: %+v", err, got)
	}
	if len(told.Agents) != 1 || told.Agents[0].Restic != "0.18.0" || !told.Agents[0].Leader || !told.Agents[0].Ready ||
		told.Agents[0].Image != "agent:v0.0.1" || told.Velero.Version != "v1.18.3" || len(told.Warnings) != 2 {
		t.Errorf("it tells %+v", told)
	}
	yaml := cluster{objects: objects}.run(t, "-o", "yaml")
	if !strings.HasPrefix(yaml.out, "agents:\n- image: agent:v0.0.1\n") {
		t.Errorf("as YAML it is %s", yaml.out)
	}
}

// TestVersionWithoutRights tells what is known, and then what is not.
func TestVersionWithoutRights(t *testing.T) {
	forbidden := func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
		return apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", errors.New(
			`User "ann" cannot list resource "pods" in API group "" in the namespace "velero"`))
	}
	got := cluster{objects: []client.Object{velero(server)}, funcs: interceptor.Funcs{List: forbidden}}.run(t)
	if got.code != command.ExitFailure || !strings.Contains(got.out, "Velero: v1.18.3") ||
		!strings.Contains(got.err, `permission to list resource "pods"`) || strings.Contains(got.err, "warning") {
		t.Errorf("got %+v", got)
	}
}

func TestVersionInColors(t *testing.T) {
	got := cluster{objects: []client.Object{velero("velero:v1\x1b[2J")}, color: true}.run(t)
	for stream, want := range map[string]string{
		got.out: "\x1b[1mVelero:\x1b[0m v1?[2J (image velero:v1?[2J)\n", got.err: "\x1b[33mwarning: \x1b[0mVelero has no plugin",
	} {
		if !strings.Contains(stream, want) {
			t.Errorf("it says %q, want %q", stream, want)
		}
	}
}

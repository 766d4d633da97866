// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package integration

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/velero-restic/velero-plugin-for-restic/agent/annotate"
	"github.com/velero-restic/velero-plugin-for-restic/agent/metric"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/volumerule"
	"github.com/velero-restic/velero-plugin-for-restic/test/apiserver"
	"github.com/velero-restic/velero-plugin-for-restic/test/page"
)

// annotateOverlay is what a user writes to turn the annotations on.
const annotateOverlay = `apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [EXAMPLES/base]
components: [EXAMPLES/component/annotate]
`

// annotated is an API server for one test, on which the agent annotates pods.
type annotated struct {
	t     *testing.T
	admin client.Client
	// agent is the agent's own configuration, with the rights of its service account.
	agent     *rest.Config
	workspace *page.Workspace
}

func newAnnotated(t *testing.T) *annotated {
	t.Helper()
	api, err := apiserver.Start(t.Context(), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := api.Stop(); err != nil {
			t.Error(err)
		}
	})
	kubeconfig, err := api.Kubeconfig("admin")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, kubeconfig, 0o600); err != nil {
		t.Fatal(err)
	}
	a := &annotated{t: t, agent: rest.CopyConfig(api.Config), workspace: newWorkspace(t, file)}
	a.agent.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:velero:velero-restic",
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:velero", "system:authenticated"},
	}
	if a.admin, err = client.New(api.Config, client.Options{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"velero", "shop"} {
		a.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	return a
}

func (a *annotated) create(objects ...client.Object) {
	a.t.Helper()
	for _, object := range objects {
		if err := a.admin.Create(a.t.Context(), object); err != nil {
			a.t.Fatal(err)
		}
	}
}

func (a *annotated) kubectl(args string) {
	a.t.Helper()
	if output, err := a.workspace.Run(a.t.Context(), "kubectl "+args); err != nil {
		a.t.Fatalf("kubectl %s: %v: %s", args, err, output)
	}
}

// checkRights asks, as the agent does before it starts, whether it may do what it is about to.
func (a *annotated) checkRights() error {
	a.t.Helper()
	agent, err := client.New(a.agent, client.Options{})
	if err != nil {
		a.t.Fatal(err)
	}
	return annotate.CheckRights(a.t.Context(), agent, "velero")
}

// annotateFolder makes the overlay, and returns its folder.
func annotateFolder(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	examples, err := filepath.Rel(folder, filepath.Join(here, "..", "..", "examples"))
	if err != nil {
		t.Fatal(err)
	}
	content := strings.ReplaceAll(annotateOverlay, "EXAMPLES", examples)
	if err := os.WriteFile(filepath.Join(folder, "kustomization.yaml"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return folder
}

// start runs the reconciler with the agent's rights until the test ends.
func (a *annotated) start() {
	a.t.Helper()
	manager, err := ctrl.NewManager(a.agent, ctrl.Options{
		Metrics: metricsserver.Options{BindAddress: "0"}, Cache: annotate.CacheOptions("velero"),
	})
	if err != nil {
		a.t.Fatal(err)
	}
	counters, err := metric.New(prometheus.NewRegistry())
	if err != nil {
		a.t.Fatal(err)
	}
	reconciler := &annotate.Reconciler{
		Client: manager.GetClient(), Recorder: record.NewFakeRecorder(1000), Metrics: counters, Namespace: "velero",
	}
	if err := reconciler.SetupWithManager(a.t.Context(), manager); err != nil {
		a.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(a.t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- manager.Start(ctx) }()
	a.t.Cleanup(func() {
		cancel()
		if err := <-stopped; err != nil {
			a.t.Errorf("the manager ended with %v", err)
		}
	})
}

// pod has a volume "data" of the claim, which it is given; no scheduler runs, so that it stays Pending.
func (a *annotated) pod(name, claim string, annotations map[string]string) *corev1.Pod {
	a.t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Annotations: annotations},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{{
				Name: "main", Image: "example.com/web",
				VolumeMounts: []corev1.VolumeMount{
					{Name: "data", MountPath: "/data"}, {Name: "cache", MountPath: "/cache"},
				},
			}},
			Volumes: []corev1.Volume{
				{Name: "data", VolumeSource: corev1.VolumeSource{
					PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim},
				}},
				{Name: "cache", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			},
		},
	}
	a.create(pod)
	return pod
}

func (a *annotated) claim(name, volume string, labels map[string]string) *corev1.PersistentVolumeClaim {
	a.t.Helper()
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: labels},
		Spec: corev1.PersistentVolumeClaimSpec{
			VolumeName: volume, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources: corev1.VolumeResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
			},
		},
	}
	a.create(claim)
	return claim
}

// wait reads a pod again and again until rules have given it that value; none for an empty one.
func (a *annotated) wait(pod *corev1.Pod, value string) {
	a.t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err := a.admin.Get(a.t.Context(), client.ObjectKeyFromObject(pod), pod); err != nil {
			a.t.Fatal(err)
		}
		if pod.Annotations[contract.AnnotationVolumesByRule] == value &&
			pod.Annotations[contract.AnnotationVolumesToBackup] == value {
			return
		}
	}
	a.t.Fatalf("pod %s has the annotations %v, want %q", pod.Name, pod.Annotations, value)
}

func (a *annotated) annotations(pod *corev1.Pod, want map[string]string) {
	a.t.Helper()
	if diff := cmp.Diff(want, pod.Annotations); diff != "" {
		a.t.Errorf("the annotations of pod %s: %s", pod.Name, diff)
	}
}

// untouched fails for pods that have been written since they were made.
func (a *annotated) untouched(pods ...*corev1.Pod) {
	a.t.Helper()
	for _, pod := range pods {
		var now corev1.Pod
		if err := a.admin.Get(a.t.Context(), client.ObjectKeyFromObject(pod), &now); err != nil {
			a.t.Fatal(err)
		}
		if now.ResourceVersion != pod.ResourceVersion {
			a.t.Errorf("pod %s has been written: %v", pod.Name, now.Annotations)
		}
	}
}

// rulesOf is a ConfigMap with them.
func rulesOf(content string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "velero", Name: "volume-rules",
			Labels: map[string]string{"velero.io/plugin-config": "", "velero.io/restic": "BackupItemAction"},
		},
		Data: map[string]string{volumerule.KeyRules: content},
	}
}

// TestAnnotate annotates pods on a real API server with the rights that the component gives, and no others, and sees
// that no more can be done with them.
func TestAnnotate(t *testing.T) {
	a := newAnnotated(t)
	a.kubectl("apply --server-side -k examples/base")
	if err := a.checkRights(); err == nil || !strings.Contains(err.Error(), "may not patch pods of all namespaces") ||
		!strings.Contains(err.Error(), "examples/component/annotate") {
		t.Errorf("without the component the agent is told: %v", err)
	}
	a.kubectl("apply --validate=strict --server-side -k " + annotateFolder(t))
	if err := a.checkRights(); err != nil {
		t.Error("with the component:", err)
	}
	var agent appsv1.DaemonSet
	if err := a.admin.Get(t.Context(), client.ObjectKey{Namespace: "velero", Name: "restic"}, &agent); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"--annotate-pods"}, agent.Spec.Template.Spec.Containers[0].Args); diff != "" {
		t.Error("the agent's arguments:", diff)
	}
	pod := a.systemPod()
	a.awaitConfined(pod)
	a.annotate()
	a.checkConfined(pod)
}

func (a *annotated) annotate() {
	note := map[string]string{"person.example.com/note": "stays"}
	gold := a.pod("gold", a.claim("gold", "", map[string]string{"tier": "gold"}).Name, note)
	tinClaim := a.claim("tin", "", nil)
	tin := a.pod("tin", tinClaim.Name, nil)
	named := a.pod("named", "gold", map[string]string{contract.AnnotationVolumesToBackup: "cache"})
	excluded := a.pod("excluded", "gold", map[string]string{contract.AnnotationVolumesToExclude: "data"})
	a.start()
	rules := rulesOf("rules: [{name: gold, action: include, claimSelector: {matchLabels: {tier: gold}}}]")
	a.create(rules)
	a.wait(gold, "data")
	a.annotations(gold, map[string]string{
		"person.example.com/note":          "stays",
		contract.AnnotationVolumesToBackup: "data", contract.AnnotationVolumesByRule: "data",
	})
	late := a.pod("late", "gold", nil)
	a.wait(late, "data")
	a.untouched(tin, named, excluded)

	// What rules look at changes: the claim's labels, and the volume that it is bound to.
	a.kubectl("-n shop label pvc tin tier=gold")
	a.wait(tin, "data")
	rules.Data[volumerule.KeyRules] = "rules: [{name: local, action: include, volumeTypes: [local, emptyDir]}]"
	if err := a.admin.Update(a.t.Context(), rules); err != nil {
		a.t.Fatal(err)
	}
	a.wait(gold, "cache")
	a.bind(tinClaim)
	a.wait(tin, "data,cache")
	a.wait(gold, "cache")
	a.untouched(named)
	a.wait(excluded, "cache")

	// A person takes one over, and the rules go.
	a.kubectl("-n shop annotate pod late --overwrite backup.velero.io/backup-volumes=data")
	a.wait(gold, "cache")
	if err := a.admin.Delete(a.t.Context(), rules); err != nil {
		a.t.Fatal(err)
	}
	a.wait(gold, "")
	a.annotations(gold, note)
	a.wait(tin, "")
	a.wait(excluded, "")
	a.untouched(named)
	if err := a.admin.Get(a.t.Context(), client.ObjectKeyFromObject(late), late); err != nil {
		a.t.Fatal(err)
	}
	a.annotations(late, map[string]string{contract.AnnotationVolumesToBackup: "data"})
}

// bind gives a claim a local volume, as the controllers do that do not run here.
func (a *annotated) bind(claim *corev1.PersistentVolumeClaim) {
	a.t.Helper()
	a.create(&corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "pv-1"},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:    corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			ClaimRef:    &corev1.ObjectReference{Namespace: claim.Namespace, Name: claim.Name},
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				Local: &corev1.LocalVolumeSource{Path: "/data"},
			},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{
					Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{"node-1"},
				}}}},
			}},
		},
	})
	if err := a.admin.Get(a.t.Context(), client.ObjectKeyFromObject(claim), claim); err != nil {
		a.t.Fatal(err)
	}
	claim.Spec.VolumeName = "pv-1"
	if err := a.admin.Update(a.t.Context(), claim); err != nil {
		a.t.Fatal(err)
	}
	claim.Status.Phase = corev1.ClaimBound
	if err := a.admin.Status().Update(a.t.Context(), claim); err != nil {
		a.t.Fatal(err)
	}
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package annotate

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/yaml"

	"github.com/velero-restic/velero-plugin-for-restic/agent/agenttest"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/selection"
	"github.com/velero-restic/velero-plugin-for-restic/internal/volumepolicy"
	"github.com/velero-restic/velero-plugin-for-restic/internal/volumerule"
)

const (
	named  = contract.AnnotationVolumesToBackup
	byRule = contract.AnnotationVolumesByRule
	// claimsOnly and everything are rules that include the shop's claims, and all its volumes.
	claimsOnly = "rules: [{name: shop, action: include, namespaces: [shop], volumeTypes: [persistentVolumeClaim]}]"
	everything = "rules: [{name: shop, action: include, namespaces: [shop]}]"
	nothing    = "rules: [{name: other, action: include, namespaces: [other]}]"
)

// annotations are pairs of keys and values.
func annotations(pairs ...string) map[string]string {
	all := map[string]string{"person.example.com/note": "stays"}
	for i := 0; i < len(pairs); i += 2 {
		all[pairs[i]] = pairs[i+1]
	}
	return all
}

func rulesConfigMap(name, rules string) *corev1.ConfigMap {
	object := &corev1.ConfigMap{
		ObjectMeta: agenttest.Meta(agenttest.Velero, name), Data: map[string]string{volumerule.KeyRules: rules},
	}
	object.Labels, object.UID = agenttest.RulesLabels(), types.UID(name)
	return object
}

func annotator(w *agenttest.World) *Reconciler {
	return &Reconciler{Client: w.Client, Recorder: w.Recorder, Metrics: w.Metrics, Namespace: agenttest.Velero}
}

// annotateWeb looks at the pod "web" and returns it.
func annotateWeb(w *agenttest.World, r *Reconciler) (*corev1.Pod, ctrl.Result) {
	w.T.Helper()
	key := client.ObjectKey{Namespace: agenttest.Shop, Name: "web"}
	result, err := r.Reconcile(w.T.Context(), ctrl.Request{NamespacedName: key})
	if err != nil {
		w.T.Fatal(err)
	}
	after := &corev1.Pod{}
	if err := w.Client.Get(w.T.Context(), key, after); err != nil {
		w.T.Fatal(err)
	}
	return after, result
}

func TestAnnotate(t *testing.T) {
	in := func(phase corev1.PodPhase) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Status.Phase = phase }
	}
	with := func(key, value string) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Annotations[key] = value }
	}
	mountedBy := func(spec corev1.PodSpec) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Spec.Containers, p.Spec.InitContainers = spec.Containers, spec.InitContainers
			p.Spec.EphemeralContainers = spec.EphemeralContainers
		}
	}
	cases := map[string]struct {
		rules  string // no ConfigMap without any
		now    map[string]string
		change func(*corev1.Pod)
		want   map[string]string // as now, if nil
	}{
		"a rule includes the claim": {
			rules: claimsOnly, now: annotations(), want: annotations(named, "data", byRule, "data"),
		},
		"a rule includes all volumes, in the order of the spec, and none that is the node's": {
			rules: everything, now: annotations(), want: annotations(named, "cache,data", byRule, "cache,data"),
		},
		"the pod is not yet running": {
			rules: claimsOnly, now: annotations(), change: in(corev1.PodPending),
			want: annotations(named, "data", byRule, "data"),
		},
		"the pod is starting again":                 {rules: claimsOnly, now: annotations(named, "data", byRule, "data"), change: in(corev1.PodPending)},
		"it is there already":                       {rules: claimsOnly, now: annotations(named, "data", byRule, "data")},
		"no rule includes anything":                 {rules: nothing, now: annotations()},
		"there are no rules":                        {now: annotations()},
		"a person has named the same":               {rules: claimsOnly, now: annotations(named, "data")},
		"a person has named another volume":         {rules: claimsOnly, now: annotations(named, "cache")},
		"a person has named nothing":                {rules: claimsOnly, now: annotations(named, "")},
		"a person has named one and rules are gone": {now: annotations(named, "data")},
		"a person has excluded the volume":          {rules: claimsOnly, now: annotations(contract.AnnotationVolumesToExclude, "data")},
		"a person has excluded one of the volumes": {
			rules: everything, now: annotations(contract.AnnotationVolumesToExclude, "cache"),
			want: annotations(contract.AnnotationVolumesToExclude, "cache", named, "data", byRule, "data"),
		},
		"a person has excluded what was written": {
			rules: claimsOnly, now: annotations(contract.AnnotationVolumesToExclude, "data", named, "data", byRule, "data"),
			want: annotations(contract.AnnotationVolumesToExclude, "data"),
		},
		"a person has changed what was written": {
			rules: claimsOnly, now: annotations(named, "data,cache", byRule, "data"), want: annotations(named, "data,cache"),
		},
		"a person has emptied what was written": {
			rules: claimsOnly, now: annotations(named, "", byRule, "data"), want: annotations(named, ""),
		},
		"a person has removed what was written": {rules: claimsOnly, now: annotations(byRule, "data")},
		"a person has removed it, and rules are gone": {
			now: annotations(byRule, "data"), want: annotations(),
		},
		"other volumes are included now": {
			rules: everything, now: annotations(named, "data", byRule, "data"),
			want: annotations(named, "cache,data", byRule, "cache,data"),
		},
		"nothing is included any more": {
			rules: nothing, now: annotations(named, "data", byRule, "data"), want: annotations(),
		},
		"a rule excludes what was written": {
			rules: "rules: [{name: shop, action: exclude}]", now: annotations(named, "data", byRule, "data"), want: annotations(),
		},
		"the rules are gone":            {now: annotations(named, "data", byRule, "data"), want: annotations()},
		"rules that cannot be read":     {rules: "rules: [{}]", now: annotations(named, "data", byRule, "data")},
		"and nothing was written":       {rules: "rules: [{}]", now: annotations()},
		"a mirror of a static pod":      {rules: claimsOnly, now: annotations(), change: with(corev1.MirrorPodAnnotationKey, "hash")},
		"a pod that has ended":          {rules: claimsOnly, now: annotations(), change: in(corev1.PodSucceeded)},
		"a pod that has failed":         {rules: nothing, now: annotations(named, "data", byRule, "data"), change: in(corev1.PodFailed)},
		"a pod that is in no backup":    {rules: claimsOnly, now: annotations(), change: func(p *corev1.Pod) { p.Labels = map[string]string{contract.LabelExcludeFromBackup: "true"} }},
		"a pod that is being deleted":   {rules: claimsOnly, now: annotations(), change: func(p *corev1.Pod) { p.DeletionTimestamp, p.Finalizers = ptr.To(metav1.Now()), []string{"a/b"} }},
		"a rule about the claim's size": {rules: "rules: [{name: small, action: include, size: {atMost: 1Gi}}]", now: annotations(), want: annotations(named, "data", byRule, "data")},
		"the claim is too large for it": {rules: "rules: [{name: small, action: include, size: {atMost: 1Mi}}]", now: annotations()},
		"no container mounts it":        {rules: claimsOnly, now: annotations(), change: mountedBy(corev1.PodSpec{})},
		"none does, and the pod is not yet running": {
			rules: claimsOnly, now: annotations(), change: func(p *corev1.Pod) { mountedBy(corev1.PodSpec{})(p); in(corev1.PodPending)(p) },
		},
		"none does any more": {
			rules: claimsOnly, now: annotations(named, "data", byRule, "data"), change: mountedBy(corev1.PodSpec{}), want: annotations(),
		},
		"an init container mounts it": {
			rules: claimsOnly, now: annotations(), want: annotations(named, "data", byRule, "data"),
			change: mountedBy(corev1.PodSpec{InitContainers: []corev1.Container{{VolumeMounts: []corev1.VolumeMount{{Name: "data"}}}}}),
		},
		"an ephemeral container mounts it": {
			rules: claimsOnly, now: annotations(), want: annotations(named, "data", byRule, "data"),
			change: mountedBy(corev1.PodSpec{EphemeralContainers: []corev1.EphemeralContainer{{
				EphemeralContainerCommon: corev1.EphemeralContainerCommon{VolumeMounts: []corev1.VolumeMount{{Name: "data"}}},
			}}}),
		},
		"the pod is for Windows": {rules: claimsOnly, now: annotations(), change: func(p *corev1.Pod) { p.Spec.OS = &corev1.PodOS{Name: corev1.Windows} }},
		"types that core would want itself": {
			rules: "rules: [{name: shop, action: include, volumeTypes: [csi, iscsi, emptyDir]}]", now: annotations(),
			change: func(p *corev1.Pod) {
				for name, source := range map[string]corev1.VolumeSource{
					"inline": {CSI: &corev1.CSIVolumeSource{Driver: "d"}}, "disk": {ISCSI: &corev1.ISCSIVolumeSource{}},
				} {
					p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: source})
					p.Spec.Containers[0].VolumeMounts = append(p.Spec.Containers[0].VolumeMounts, corev1.VolumeMount{Name: name})
				}
			},
			want: annotations(named, "cache", byRule, "cache"),
		},
		"a block volume": {rules: claimsOnly, now: annotations(), change: func(p *corev1.Pod) {
			p.Spec.Containers = []corev1.Container{{VolumeDevices: []corev1.VolumeDevice{{Name: "data"}}}}
		}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			before := agenttest.Pod("web")
			before.Annotations, before.Status.Phase = c.now, corev1.PodRunning
			before.Spec.Volumes = append(before.Spec.Volumes,
				corev1.Volume{Name: "logs", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{}}},
				corev1.Volume{Name: "token", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{}}})
			if c.change != nil {
				c.change(before)
			}
			want := c.want
			if want == nil {
				want = before.Annotations
			}
			w := agenttest.New(t, append(boundStorage(), before)...)
			if c.rules != "" {
				w.Create(rulesConfigMap("rules", c.rules))
			}
			created := podNow(w, before)
			r := annotator(w)
			after, _ := annotateWeb(w, r)
			if diff := cmp.Diff(want, after.Annotations); diff != "" {
				t.Error("the annotations:", diff)
			}
			if touched := after.ResourceVersion != created.ResourceVersion; touched != (c.want != nil) {
				t.Errorf("that the pod was written is %v", touched)
			}
			if again, _ := annotateWeb(w, r); again.ResourceVersion != after.ResourceVersion {
				t.Error("a second look has written the pod again")
			}
		})
	}
}

// boundStorage is that of the shop, with a size.
func boundStorage() []client.Object {
	objects := agenttest.Storage()
	if claim, ok := objects[0].(*corev1.PersistentVolumeClaim); ok {
		claim.Status.Phase = corev1.ClaimBound
		claim.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
	}
	return objects
}

// TestAnnotateKeepsOffLabeledClaims has a rule include a claim that Velero's label leaves out.
func TestAnnotateKeepsOffLabeledClaims(t *testing.T) {
	objects := boundStorage()
	objects[0].SetLabels(map[string]string{contract.LabelExcludeFromBackup: "true"})
	before := agenttest.Pod("web")
	before.Annotations, before.Status.Phase = annotations(), corev1.PodRunning
	w := agenttest.New(t, append(objects, before)...)
	w.Create(rulesConfigMap("rules", everything))
	after, _ := annotateWeb(w, annotator(w))
	if diff := cmp.Diff(annotations(named, "cache", byRule, "cache"), after.Annotations); diff != "" {
		t.Error("the annotations:", diff)
	}
}

func podNow(w *agenttest.World, object *corev1.Pod) *corev1.Pod {
	w.T.Helper()
	found := &corev1.Pod{}
	if err := w.Client.Get(w.T.Context(), client.ObjectKeyFromObject(object), found); err != nil {
		w.T.Fatal(err)
	}
	return found
}

// TestAnnotateUsesOneConfigMap has rules change under a reconciler that has read them.
func TestAnnotateUsesOneConfigMap(t *testing.T) {
	w := agenttest.New(t, append(boundStorage(), agenttest.Pod("web"))...)
	second := rulesConfigMap("b", claimsOnly)
	w.Create(second)
	r := annotator(w)
	expect := func(what, value string) {
		t.Helper()
		if after, _ := annotateWeb(w, r); after.Annotations[named] != value || after.Annotations[byRule] != value {
			t.Errorf("%s: the annotations are %v, want %q", what, after.Annotations, value)
		}
	}
	expect("one ConfigMap", "data")
	first := rulesConfigMap("a", everything)
	w.Create(first)
	expect("another one, earlier by its name", "cache,data")
	first.Data[volumerule.KeyRules] = "rules: ["
	w.Update(first)
	expect("its rules are broken", "cache,data")
	first.Data[volumerule.KeyRules] = nothing
	w.Update(first)
	expect("its rules are mended, and include nothing", "")
	w.Remove(first)
	expect("it is gone", "data")
	w.Remove(second)
	expect("both are", "")
}

func TestAnnotateRefused(t *testing.T) {
	pods := schema.GroupResource{Resource: "pods"}
	webhook := func(code int32) error {
		return &apierrors.StatusError{ErrStatus: metav1.Status{
			Status: metav1.StatusFailure, Code: code, Message: `admission webhook "no.example.com" denied the request`,
		}}
	}
	cases := map[string]struct {
		answer  error
		again   bool // after a while
		fails   bool
		refused float64
		rights  bool // it is for want of rights
	}{
		"the pod has changed meanwhile": {answer: apierrors.NewConflict(pods, "web", errors.New("changed")), again: true},
		"the pod is gone":               {answer: apierrors.NewNotFound(pods, "web")},
		"the agent may not": {
			answer: apierrors.NewForbidden(pods, "web", errors.New("no rights")), again: true, refused: 1, rights: true,
		},
		"an admission policy refuses it": {
			answer: apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, "web", nil), again: true, refused: 1,
		},
		"a webhook refuses it without a code": {answer: webhook(400), again: true, refused: 1},
		"a webhook refuses it with a code":    {answer: webhook(422), again: true, refused: 1},
		"the API server is away":              {answer: apierrors.NewInternalError(errors.New("away")), fails: true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := agenttest.New(t, append(boundStorage(), agenttest.Pod("web"), rulesConfigMap("rules", claimsOnly))...)
			r := annotator(w)
			r.Client = interceptor.NewClient(w.Client, interceptor.Funcs{Patch: func(
				context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption,
			) error {
				return c.answer
			}})
			result, err := r.Reconcile(t.Context(), ctrl.Request{
				NamespacedName: client.ObjectKey{Namespace: agenttest.Shop, Name: "web"},
			})
			if (err != nil) != c.fails || (result.RequeueAfter > 0) != c.again {
				t.Errorf("the outcome is %+v, %v", result, err)
			}
			events := w.Events()
			if told := len(events) == 1 && strings.Contains(events[0], "AnnotateFailed") &&
				strings.Contains(events[0], "shop/web"); told != (c.refused > 0) {
				t.Errorf("the Events are %q", events)
			}
			if strings.Contains(strings.Join(events, ""), "examples/component/annotate") != c.rights {
				t.Errorf("that rights are missing is %v, and the Events are %q", c.rights, events)
			}
			if got := counted(t, w, "refused"); got != c.refused {
				t.Errorf("%v refusals are counted, want %v", got, c.refused)
			}
		})
	}
}

// TestAnnotateIsOvertaken has a person write between the look at a pod and the patch of it.
func TestAnnotateIsOvertaken(t *testing.T) {
	w := agenttest.New(t, append(boundStorage(), agenttest.Pod("web"), rulesConfigMap("rules", claimsOnly))...)
	r := annotator(w)
	r.Client = interceptor.NewClient(w.Client, interceptor.Funcs{Patch: func(
		ctx context.Context, c client.WithWatch, object client.Object, patch client.Patch, options ...client.PatchOption,
	) error {
		now := podNow(w, agenttest.Pod("web"))
		now.Annotations = annotations(named, "cache")
		w.Update(now)
		return c.Patch(ctx, object, patch, options...)
	}})
	after, result := annotateWeb(w, r)
	if diff := cmp.Diff(annotations(named, "cache"), after.Annotations); diff != "" {
		t.Error("the annotations:", diff)
	}
	if result.RequeueAfter == 0 {
		t.Error("the pod is not looked at again")
	}
}

// counted returns how many changes to annotations had this result.
func counted(t *testing.T, w *agenttest.World, result string) float64 {
	t.Helper()
	families, err := w.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == "velero_restic_pod_annotations_total" && m.GetLabel()[0].GetValue() == result {
				return m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("there is no series with result %s", result)
	return 0
}

// TestAnnotateReduces sees that what the cache keeps of a pod is enough to decide as on the whole one.
func TestAnnotateReduces(t *testing.T) {
	whole := agenttest.Pod("web")
	whole.ResourceVersion = "7"
	whole.Annotations = annotations(contract.AnnotationVolumesToExclude, "cache", corev1.MirrorPodAnnotationKey, "x")
	whole.Labels = map[string]string{"app": "shop"}
	whole.OwnerReferences = []metav1.OwnerReference{{Kind: "Job", Name: "nightly", UID: "uid-of-job", APIVersion: "batch/v1"}}
	whole.Spec.OS = &corev1.PodOS{Name: corev1.Linux}
	whole.Spec.Containers = []corev1.Container{
		{
			Name: "main", Image: "big", VolumeDevices: []corev1.VolumeDevice{{Name: "raw", DevicePath: "/dev/raw"}},
			VolumeMounts: []corev1.VolumeMount{{Name: "data", MountPath: "/data"}, {Name: "data", MountPath: "/more"}},
		},
		{Name: "other", VolumeMounts: []corev1.VolumeMount{{Name: "data", SubPath: "sub"}}},
	}
	whole.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
		VolumeMounts: []corev1.VolumeMount{{Name: "cache", MountPath: "/cache"}},
	}}}
	whole.Spec.Volumes = append(whole.Spec.Volumes, corev1.Volume{
		Name: "token", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
			Sources: []corev1.VolumeProjection{{}},
		}},
	})
	want := whole.DeepCopy()
	delete(want.Annotations, "person.example.com/note")
	want.CreationTimestamp = metav1.Time{}
	want.OwnerReferences = []metav1.OwnerReference{{Kind: "Job", Name: "nightly", APIVersion: "batch/v1"}}
	want.Spec.EphemeralContainers = nil
	want.Spec.InitContainers = []corev1.Container{{VolumeMounts: []corev1.VolumeMount{{Name: "cache"}}}}
	want.Spec.Containers = []corev1.Container{{
		VolumeMounts:  []corev1.VolumeMount{{Name: "data"}},
		VolumeDevices: []corev1.VolumeDevice{{Name: "raw"}},
	}}
	want.Spec.Volumes = want.Spec.Volumes[:2]
	for range 2 { // the cache may do it again to what it has done it to
		got, err := reduce(reducePod)(whole)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error("the pod that the cache keeps:", diff)
		}
	}
}

// TestAnnotateKeepsVersions: without them the cache would take no change of a claim or volume for one.
func TestAnnotateKeepsVersions(t *testing.T) {
	for _, objects := range CacheOptions(agenttest.Velero).ByObject {
		if objects.Transform == nil {
			continue
		}
		for _, object := range append(agenttest.Storage(), agenttest.Pod("web")) {
			object.SetResourceVersion("7")
			kept, err := objects.Transform(object)
			if err != nil {
				t.Fatal(err)
			}
			if one, isOne := kept.(client.Object); !isOne || one.GetResourceVersion() != "7" || one.GetName() != object.GetName() {
				t.Errorf("of %T the cache keeps %+v", object, kept)
			}
		}
	}
}

// TestAnnotateNamesWhatCoreLeaves holds the types that are named against the volume policy that people install.
func TestAnnotateNamesWhatCoreLeaves(t *testing.T) {
	content, err := os.ReadFile(filepath.Join("..", "..", "examples", "base", "policy", "configmap.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var configMap corev1.ConfigMap
	if err := yaml.UnmarshalStrict(content, &configMap); err != nil {
		t.Fatal(err)
	}
	policies, err := volumepolicy.Parse(&configMap)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := volumerule.Parse(rulesConfigMap("rules", "rules: [{name: v, action: include, volumes: [v]}]"))
	if err != nil {
		t.Fatal(err)
	}
	fields := reflect.TypeFor[corev1.VolumeSource]()
	named := 0
	for i := range fields.NumField() {
		volume := corev1.Volume{Name: "v"}
		field := reflect.ValueOf(&volume.VolumeSource).Elem().Field(i)
		field.Set(reflect.New(field.Type().Elem()))
		whole := agenttest.Pod("web")
		whole.Spec.Volumes = []corev1.Volume{volume}
		whole.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "v"}}
		_, left := policies.Match(volumepolicy.Volume{PodVolume: &volume})
		want := ""
		if left || volume.PersistentVolumeClaim != nil { // which a label does for
			want = "v"
			named++
		}
		if got := namedByRules(selection.Input{Pod: whole, Rules: rules, NodeAgent: true}); got != want {
			t.Errorf("a volume of type %s: %q is named, want %q", fields.Field(i).Name, got, want)
		}
	}
	if want := len(contract.BasePolicyTypes()) + 1; named != want {
		t.Errorf("%d types are named, want %d", named, want)
	}
}

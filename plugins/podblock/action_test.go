// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package podblock

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
	itemblockaction "github.com/vmware-tanzu/velero/pkg/plugin/velero/itemblockaction/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/plugins/internal/cluster/clustertest"
)

func claimed() map[string]string {
	return map[string]string{contract.LabelClaimed: "true", "app": "web"}
}

func rules(action string) *corev1.ConfigMap {
	return clustertest.Rules("rules", "rules: [{name: all, action: "+action+"}]")
}

func TestGetRelatedItems(t *testing.T) {
	asks := func() *corev1.Pod { return clustertest.Pod("web", [2]string{"data-volume", "data"}) }
	asksNot := func() *corev1.Pod {
		pod := asks()
		pod.Annotations = nil
		return pod
	}
	other := func() *corev1.Pod { return clustertest.Pod("other", [2]string{"x", "data"}) }
	ended := func() *corev1.Pod {
		pod := other()
		pod.Annotations, pod.Status.Phase = nil, corev1.PodSucceeded
		return pod
	}
	windows := func() *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{
			Name: clustertest.Node, Labels: map[string]string{corev1.LabelOSStable: "windows"},
		}}
	}
	running := clustertest.Backup()
	running.Name, running.UID = "hourly", "another"
	for name, test := range map[string]struct {
		item   *corev1.Pod // nil for the claim itself
		labels map[string]string
		others []client.Object
		want   string
		warns  string
	}{
		"a claim that is asked for gets the label":      {item: asks(), want: "true"},
		"a claim that has it keeps it":                  {item: asks(), labels: claimed(), want: "true"},
		"a claim that is no longer asked for loses it":  {item: asksNot(), labels: claimed(), warns: "app/data"},
		"a claim that nobody asked for stays as it is":  {item: asksNot()},
		"a claim that another pod asks for keeps it":    {item: asksNot(), labels: claimed(), others: []client.Object{other()}, want: "true"},
		"a claim that another backup may need keeps it": {item: asksNot(), labels: claimed(), others: []client.Object{running}, want: "true", warns: "another backup"},
		"a claim without any pod loses it":              {labels: claimed(), warns: "app/data"},
		"a claim whose pod asks keeps it":               {labels: claimed(), others: []client.Object{asks()}, want: "true"},
		"a claim without label and pod stays as it is":  {},
		"a claim that a rule includes gets the label":   {item: asksNot(), others: []client.Object{rules("include")}, want: "true"},
		"not where restic does not run":                 {item: asksNot(), others: []client.Object{rules("include"), windows()}},
		"nor for a pod that has ended":                  {item: ended(), others: []client.Object{rules("include")}},
		"but for another pod of the claim that runs":    {item: ended(), labels: claimed(), others: []client.Object{rules("include"), asksNot()}, want: "true"},
		"a claim that a rule includes keeps it":         {labels: claimed(), others: []client.Object{rules("include"), asksNot()}, want: "true"},
		"a claim that a rule excludes loses it":         {item: asksNot(), labels: claimed(), others: []client.Object{rules("exclude")}, warns: "app/data"},
		"a claim that a person names keeps it":          {item: asks(), labels: claimed(), others: []client.Object{rules("exclude")}, want: "true"},
		"rules that cannot be read leave a label on":    {item: asksNot(), labels: claimed(), others: []client.Object{rules("wrong")}, want: "true"},
		"they do so for another pod's claim, too":       {labels: claimed(), others: []client.Object{rules("wrong"), asksNot()}, want: "true"},
		"but not for a claim without any pod":           {labels: claimed(), others: []client.Object{rules("wrong")}, warns: "app/data"},
		"and they put none on":                          {item: asksNot(), others: []client.Object{rules("wrong")}},
	} {
		t.Run(name, func(t *testing.T) {
			claim, volume := clustertest.Claim("data", test.labels)
			objects := append([]client.Object{clustertest.Policy(), claim, volume}, test.others...)
			var item client.Object = claim
			if test.item != nil {
				item = test.item
				objects = append(objects, test.item)
			}
			c := clustertest.New(t, interceptor.Funcs{}, objects...)
			log, hook := logtest.NewNullLogger()
			var action itemblockaction.ItemBlockAction = New(log, c)
			related, err := action.GetRelatedItems(clustertest.Unstructured(t, item), clustertest.Backup())
			if err != nil || len(related) != 0 {
				t.Errorf("related items are %v with error %v, want none", related, err)
			}
			var after corev1.PersistentVolumeClaim
			if err := c.Get("app", "data", &after); err != nil {
				t.Fatal(err)
			}
			if got := after.Labels[contract.LabelClaimed]; got != test.want {
				t.Errorf("label is %q, want %q", got, test.want)
			}
			if test.labels != nil && after.Labels["app"] != "web" {
				t.Error("another label is gone")
			}
			if got := messages(hook, logrus.WarnLevel); !strings.Contains(got, test.warns) || (got == "") != (test.warns == "") {
				t.Errorf("warnings are %q, want %q in them", got, test.warns)
			}
			if got := messages(hook, logrus.ErrorLevel); got != "" {
				t.Errorf("errors are %q, want none", got)
			}
		})
	}
}

func TestGetRelatedItemsWhenTheServerRefuses(t *testing.T) {
	claim, volume := clustertest.Claim("data", nil)
	refuse := interceptor.Funcs{Patch: func(context.Context, client.WithWatch, client.Object, client.Patch,
		...client.PatchOption,
	) error {
		return errors.New("no role")
	}}
	log, hook := logtest.NewNullLogger()
	action := New(log, clustertest.New(t, refuse, clustertest.Policy(), claim, volume))
	pod := clustertest.Unstructured(t, clustertest.Pod("web", [2]string{"data-volume", "data"}))
	if _, err := action.GetRelatedItems(pod, clustertest.Backup()); err != nil {
		t.Errorf("error %v, want the pod to stay in the backup", err)
	}
	if got := messages(hook, logrus.ErrorLevel); !strings.Contains(got, "app/data") || !strings.Contains(got, "no role") {
		t.Errorf("errors are %q, want one that names the claim and the reason", got)
	}
}

// TestGetRelatedItemsOfABusyServer: the rules may be read a moment later, and nobody would tell of the missing label.
func TestGetRelatedItemsOfABusyServer(t *testing.T) {
	refuse := interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			if _, isRules := list.(*corev1.ConfigMapList); isRules {
				return errors.New("no such luck")
			}
			return c.List(ctx, list, options...)
		},
	}
	for sentence, test := range map[string]struct {
		change func(*corev1.Pod)
		told   bool
	}{
		"a pod that rules may be about": {func(pod *corev1.Pod) { pod.Annotations = nil }, true},
		"a person has named its volume": {func(*corev1.Pod) {}, false},
		"the pod is done": {func(pod *corev1.Pod) {
			pod.Annotations, pod.Status.Phase = nil, corev1.PodSucceeded
		}, false},
	} {
		t.Run(sentence, func(t *testing.T) {
			claim, volume := clustertest.Claim("data", nil)
			log, hook := logtest.NewNullLogger()
			action := New(log, clustertest.New(t, refuse, clustertest.Policy(), claim, volume, rules("include")))
			pod := clustertest.Pod("web", [2]string{"data-volume", "data"})
			test.change(pod)
			if _, err := action.GetRelatedItems(clustertest.Unstructured(t, pod), clustertest.Backup()); err != nil {
				t.Errorf("error %v, want the pod to stay in the backup", err)
			}
			got := messages(hook, logrus.ErrorLevel)
			for _, part := range []string{"app/web", "no such luck", contract.LabelClaimed} {
				if strings.Contains(got, part) != test.told {
					t.Errorf("errors are %q; that they say %q is to be %v", got, part, test.told)
				}
			}
		})
	}
}

func TestGetRelatedItemsWithoutPods(t *testing.T) {
	// A backup of claims alone takes no data of theirs with restic, so that they must be left to Velero.
	claim, volume := clustertest.Claim("data", claimed())
	c := clustertest.New(t, interceptor.Funcs{}, clustertest.Policy(), claim, volume,
		clustertest.Pod("web", [2]string{"data-volume", "data"}))
	backup := clustertest.Backup()
	backup.Spec.IncludedResources = []string{"pvc", "pv"}
	action := New(logrus.New(), c)
	if _, err := action.GetRelatedItems(clustertest.Unstructured(t, claim), backup); err != nil {
		t.Fatal(err)
	}
	var after corev1.PersistentVolumeClaim
	if err := c.Get("app", "data", &after); err != nil || after.Labels[contract.LabelClaimed] != "" {
		t.Errorf("labels are %v with error %v, want the claim released", after.Labels, err)
	}
}

func TestNoPolicy(t *testing.T) {
	// Without a policy that matches the label, it would do nothing.
	claim, volume := clustertest.Claim("data", nil)
	c := clustertest.New(t, interceptor.Funcs{}, claim, volume)
	backup := clustertest.Backup()
	backup.Spec.ResourcePolicy = nil
	pod := clustertest.Unstructured(t, clustertest.Pod("web", [2]string{"data-volume", "data"}))
	if _, err := New(logrus.New(), c).GetRelatedItems(pod, backup); err != nil {
		t.Fatal(err)
	}
	var after corev1.PersistentVolumeClaim
	if err := c.Get("app", "data", &after); err != nil || len(after.Labels) != 0 {
		t.Errorf("labels are %v with error %v, want none", after.Labels, err)
	}
}

func messages(hook *logtest.Hook, level logrus.Level) string {
	var lines []string
	for _, entry := range hook.AllEntries() {
		if entry.Level == level {
			lines = append(lines, entry.Message)
		}
	}
	return strings.Join(lines, "\n")
}

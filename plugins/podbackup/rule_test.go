// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package podbackup

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/plugins/internal/cluster/clustertest"
)

const includeAll = "rules: [{name: everything, action: include}]"

// unannotated is a pod with a claim and an emptyDir, none of them asked for.
func unannotated(name string) *corev1.Pod {
	pod := clustertest.Pod(name, [2]string{"data-volume", "data"}, [2]string{"cache", ""})
	pod.Annotations = nil
	return pod
}

func TestExecuteByRules(t *testing.T) {
	named := func(pod *corev1.Pod) {
		pod.Annotations = map[string]string{contract.AnnotationVolumesToBackup: "cache"}
	}
	done := func(pod *corev1.Pod) { pod.Status.Phase = corev1.PodSucceeded }
	for sentence, test := range map[string]struct {
		rules  string
		change func(*corev1.Pod)
		taken  map[string]string // the rule by volume
		says   []string          // in an error
	}{
		"a rule selects":   {rules: includeAll, taken: map[string]string{"data-volume": "everything", "cache": "everything"}},
		"a rule excludes":  {rules: "rules: [{name: nothing, action: exclude}]"},
		"a person selects": {rules: "rules: [{name: nothing, action: exclude}]", change: named, taken: map[string]string{"cache": ""}},
		"broken rules, and a person selects one of two": {
			rules: "rules: [{name: all, action: take}]", change: named, taken: map[string]string{"cache": ""},
			says: []string{"app/web", "ConfigMap " + clustertest.Velero + "/rules", "rules[0] (all): action", "kubectl -n " + clustertest.Velero + " edit configmap rules"},
		},
		"broken rules, and the pod is done": {rules: "rules: [{name: all, action: take}]", change: done},
		"broken rules, and a person says all there is to say": {
			rules: "rules: [{name: all, action: take}]", taken: map[string]string{"cache": ""},
			change: func(pod *corev1.Pod) {
				named(pod)
				pod.Annotations[contract.AnnotationVolumesToExclude] = "data-volume"
			},
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			claim, volume := clustertest.Claim("data", claimed())
			c := clustertest.New(t, interceptor.Funcs{}, clustertest.Policy(), claim, volume, clustertest.Rules("rules", test.rules))
			pod := unannotated("web")
			if test.change != nil {
				test.change(pod)
			}
			got := execute(t, c, pod, clustertest.Backup())
			made := objects(t, c)
			if len(made) != len(test.taken) {
				t.Errorf("%d volumes are taken, want %d", len(made), len(test.taken))
			}
			for volume, rule := range test.taken {
				if object := made["web/"+volume]; object.Name == "" || object.Annotations[contract.AnnotationRule] != rule {
					t.Errorf("%s: got %+v, want rule %q", volume, object.ObjectMeta, rule)
				}
				if said := strings.Contains(got.logged(logrus.InfoLevel), `for the sake of rule "everything"`); said != (rule != "") {
					t.Errorf("the log says %q", got.logged(logrus.InfoLevel))
				}
			}
			problem := got.logged(logrus.ErrorLevel)
			for _, part := range test.says {
				if !strings.Contains(problem, part) {
					t.Errorf("the error is %q and does not say %q", problem, part)
				}
			}
			if (problem == "") != (test.says == nil) || strings.Contains(problem, "\n") {
				t.Errorf("got error %q", problem)
			}
		})
	}
}

// TestRulesAreReadOnce holds that a backup goes by the same rules to its end, and the next one by new ones.
func TestRulesAreReadOnce(t *testing.T) {
	lists := 0
	claim, volume := clustertest.Claim("data", claimed())
	c := clustertest.New(t, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			if _, isRules := list.(*corev1.ConfigMapList); isRules {
				lists++
			}
			return c.List(ctx, list, options...)
		},
	}, clustertest.Policy(), claim, volume, clustertest.Rules("b", includeAll), clustertest.Rules("a", includeAll))
	bare := unannotated("bare")
	bare.Spec.Volumes = nil
	execute(t, c, bare, clustertest.Backup())
	if lists != 0 {
		t.Error("rules are read for a pod without volumes")
	}
	first := execute(t, c, unannotated("web"), clustertest.Backup())
	if err := c.Client.Delete(t.Context(), clustertest.Rules("a", "")); err != nil {
		t.Fatal(err)
	}
	if err := c.Client.Delete(t.Context(), clustertest.Rules("b", "")); err != nil {
		t.Fatal(err)
	}
	second := execute(t, c, unannotated("other"), clustertest.Backup())
	if lists != 1 || len(second.note(t).Volumes) != 2 {
		t.Errorf("rules are read %d times, and the second pod has %+v", lists, second.note(t))
	}
	if warned := first.logged(logrus.WarnLevel); !strings.Contains(warned, "ConfigMaps a and b") {
		t.Errorf("warnings are %q, want that there are two ConfigMaps", warned)
	}
	if warned := second.logged(logrus.WarnLevel); warned != "" {
		t.Errorf("the second pod has warnings %q", warned)
	}
	next := clustertest.Backup()
	next.UID = "another"
	if got := execute(t, c, unannotated("other"), next); got.operationID != "" || lists != 2 {
		t.Errorf("the next backup read rules %d times and has operation %q", lists, got.operationID)
	}
}

// TestRulesOfABusyServer: what else is asked for is taken, and the backup says what it does not know.
func TestRulesOfABusyServer(t *testing.T) {
	c := clustertest.New(t, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			if _, isRules := list.(*corev1.ConfigMapList); isRules {
				return errors.New("no such luck")
			}
			return c.List(ctx, list, options...)
		},
	}, clustertest.Policy())
	pod := clustertest.Pod("web", [2]string{"cache", ""}, [2]string{"other", ""})
	pod.Annotations[contract.AnnotationVolumesToBackup] = "cache"
	got := execute(t, c, pod, clustertest.Backup())
	if len(got.note(t).Volumes) != 1 || !strings.Contains(got.logged(logrus.ErrorLevel), "no such luck") {
		t.Errorf("took %+v with error %q", got.note(t), got.logged(logrus.ErrorLevel))
	}
}

// TestEndedPods has a pod of a Job that is done share its claim with one that runs.
func TestEndedPods(t *testing.T) {
	for sentence, test := range map[string]struct {
		annotated, running bool
		warns              bool
	}{
		"a rule selects, and the other pod's volume is taken": {running: true},
		"a rule selects, and there is no other pod":           {warns: true},
		"a person has asked for this very volume":             {annotated: true, running: true, warns: true},
	} {
		t.Run(sentence, func(t *testing.T) {
			claim, volume := clustertest.Claim("data", claimed())
			given := []client.Object{clustertest.Policy(), claim, volume, clustertest.Rules("rules", includeAll)}
			ended := clustertest.Pod("job-x", [2]string{"data-volume", "data"})
			ended.Status.Phase = corev1.PodSucceeded
			if !test.annotated {
				ended.Annotations = nil
			}
			if test.running {
				given = append(given, unannotated("web"))
			}
			c := clustertest.New(t, interceptor.Funcs{}, append(given, ended)...)
			got := execute(t, c, ended, clustertest.Backup())
			made, warned := objects(t, c), got.logged(logrus.WarnLevel)
			if (len(made) == 1) != test.warns || strings.Contains(warned, "Succeeded") != test.warns {
				t.Errorf("there are %d objects, and warnings %q", len(made), warned)
			}
		})
	}
}

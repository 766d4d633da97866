// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package inventory

import (
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

func TestStaleAfter(t *testing.T) {
	for name, c := range map[string]struct {
		arguments []string
		want      time.Duration
		fails     bool
	}{
		"flag not set":        {[]string{"--log-format=json", "--concurrency", "4"}, 0, false},
		"with an equals sign": {[]string{"--coverage-stale-after=36h", "--annotate-pods"}, 36 * time.Hour, false},
		"as two arguments":    {[]string{"--concurrency", "4", "--coverage-stale-after", "24h"}, 24 * time.Hour, false},
		"not a duration":      {[]string{"--coverage-stale-after=soon"}, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			set := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: "velero", Name: "restic"}}
			set.Spec.Template.Spec.Containers = []corev1.Container{
				{Name: "proxy", Args: []string{"--coverage-stale-after=1h"}}, {Name: "restic", Args: c.arguments},
			}
			got, err := StaleAfter(t.Context(), fake.NewClientBuilder().WithObjects(set).Build(), "velero")
			if got != c.want || (err != nil) != c.fails {
				t.Errorf("got %s and error %v, want %s", got, err, c.want)
			}
		})
	}
	got, err := StaleAfter(t.Context(), fake.NewClientBuilder().Build(), "velero")
	if got != 0 || err != nil {
		t.Errorf("without agents: %s, %v", got, err)
	}
}

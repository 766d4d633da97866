// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package coverage

import (
	"fmt"
	"testing"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/velero-restic/velero-plugin-for-restic/internal/volumepolicy"
)

// TestSelectionsAreShared counts how often package selection is called for Schedules with equal settings.
func TestSelectionsAreShared(t *testing.T) {
	policies := &volumepolicy.Policies{}
	from := Sources{Server: &Server{AdmittedPolicies: "base"}, Policies: func(...string) (*volumepolicy.Policies, error) {
		return policies, nil
	}}
	pod := Pod{Pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "foo", Name: "web"}}}
	d := newDecider(Group{Namespace: "foo", Pods: []Pod{pod}})
	ask := func(spec velerov1.BackupSpec) {
		for i := range 50 {
			schedule := &velerov1.Schedule{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("daily-", i)}}
			schedule.Spec.Template = spec
			d.selectVolumes(0, SchedulePlan(schedule, from))
		}
	}
	ask(velerov1.BackupSpec{})
	if got := len(d.selections); got != 1 {
		t.Errorf("package selection was called %d times for 50 equal schedules", got)
	}
	ask(velerov1.BackupSpec{DefaultVolumesToFsBackup: ptr.To(true)})
	if got := len(d.selections); got != 2 {
		t.Errorf("package selection was called %d times for two kinds of schedules", got)
	}
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package coverage_test

import (
	"fmt"
	"testing"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/coverage"
	"github.com/velero-restic/velero-plugin-for-restic/internal/volumepolicy"
	"github.com/velero-restic/velero-plugin-for-restic/internal/volumerule"
)

// basePolicies are the volume policies of examples/base.
const basePolicies = `version: v1
volumePolicies:
- conditions: {pvcLabels: {restic.velero.io/backup: "true"}}
  action: {type: custom}
- conditions: {volumeTypes: [emptyDir, ephemeral, nfs, cephfs, glusterfs]}
  action: {type: custom}
- conditions: {pvcPhase: [Pending, Lost]}
  action: {type: custom}
`

// fixture is the namespace foo with the objects that a test adds, and a Schedule that includes everything.
type fixture struct {
	group     coverage.Group
	schedules []*velerov1.Schedule
	server    coverage.Server
	policies  map[string]string
	rules     string
	labeled   []string // namespaces with the label that excludes them
}

func newFixture() *fixture {
	return &fixture{
		group:     coverage.Group{Namespace: "foo", Volumes: map[string]*corev1.PersistentVolume{}},
		schedules: []*velerov1.Schedule{schedule("daily")},
		server: coverage.Server{
			AdmittedPolicies: "base", DefaultStorage: "default",
			StorageLocations: []coverage.StorageLocation{{Name: "default", Phase: "Available"}},
		},
		policies: map[string]string{"base": basePolicies},
	}
}

func schedule(name string) *velerov1.Schedule {
	return &velerov1.Schedule{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: velerov1.ScheduleSpec{Schedule: "0 1 * * *"},
	}
}

// claim adds a claim that is bound to a CSI volume of driver csi.example.com.
func (s *fixture) claim(name string) *corev1.PersistentVolumeClaim {
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "foo", Name: name},
		Spec: corev1.PersistentVolumeClaimSpec{
			VolumeName: "pv-" + name, StorageClassName: ptr.To("fast"),
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		},
		Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound},
	}
	pv := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pv-" + name}}
	pv.Spec.CSI = &corev1.CSIPersistentVolumeSource{Driver: "csi.example.com"}
	s.group.Claims = append(s.group.Claims, claim)
	s.group.Volumes[pv.Name] = pv
	return claim
}

func (s *fixture) pv(claim string) *corev1.PersistentVolume { return s.group.Volumes["pv-"+claim] }

// pod adds a running pod that mounts these claims, each as a volume of the same name. The annotation names the volumes
// in asked.
func (s *fixture) pod(name, asked string, claims ...string) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "foo", Name: name, Annotations: map[string]string{}},
		Spec:       corev1.PodSpec{NodeName: "node", Containers: []corev1.Container{{}}},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning},
	}
	if asked != "" {
		pod.Annotations[contract.AnnotationVolumesToBackup] = asked
	}
	for _, claim := range claims {
		mount(pod, corev1.Volume{Name: claim, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim},
		}})
	}
	s.group.Pods = append(s.group.Pods, coverage.Pod{Pod: pod, NodeOS: "linux"})
	return pod
}

func mount(pod *corev1.Pod, volume corev1.Volume) {
	pod.Spec.Volumes = append(pod.Spec.Volumes, volume)
	pod.Spec.Containers[0].VolumeMounts = append(pod.Spec.Containers[0].VolumeMounts,
		corev1.VolumeMount{Name: volume.Name})
}

func (s *fixture) nodeAgent() {
	for i := range s.group.Pods {
		s.group.Pods[i].NodeAgent = true
	}
	s.server.NodeAgent = true
}

// csi makes CSI snapshots possible.
func (s *fixture) csi() {
	s.server.CSI = true
	s.server.Provisioners = map[string]string{"fast": "csi.example.com"}
	s.server.SnapshotClasses = []coverage.SnapshotClass{{Name: "c", Driver: "csi.example.com"}}
}

// native adds a claim whose volume a provider's plugin can take a snapshot of.
func (s *fixture) native(name string) *corev1.PersistentVolumeClaim {
	claim := s.claim(name)
	s.pv(name).Spec.CSI.Driver = "ebs.csi.aws.com"
	s.server.SnapshotLocations = []coverage.SnapshotLocation{{Name: "a", Provider: "aws"}}
	return claim
}

// allNew sets the creation time of all Schedules to now.
func (s *fixture) allNew() {
	for _, one := range s.schedules {
		one.CreationTimestamp = metav1.NewTime(now)
	}
}

func (s *fixture) template() *velerov1.BackupSpec { return &s.schedules[0].Spec.Template }

func (s *fixture) read(names ...string) (*volumepolicy.Policies, error) {
	var all []*volumepolicy.Policies
	for _, name := range names {
		content, found := s.policies[name]
		if !found {
			return nil, fmt.Errorf("there is no ConfigMap %s", name)
		}
		one, err := volumepolicy.Parse(&corev1.ConfigMap{Data: map[string]string{"policies.yaml": content}})
		if err != nil || len(names) == 1 {
			return one, err
		}
		all = append(all, one)
	}
	return volumepolicy.Merge(all...), nil
}

func (s *fixture) sources(t *testing.T) coverage.Sources {
	t.Helper()
	from := coverage.Sources{Server: &s.server, Labeled: s.labeled, Policies: s.read}
	if s.rules != "" {
		rules, err := volumerule.Parse(&corev1.ConfigMap{Data: map[string]string{volumerule.KeyRules: s.rules}})
		from.Rules, from.RulesInvalid = rules, err != nil
	}
	return from
}

func (s *fixture) decide(t *testing.T) map[string]coverage.Result {
	t.Helper()
	var plans []*coverage.Plan
	for _, one := range s.schedules {
		plans = append(plans, coverage.SchedulePlan(one, s.sources(t)))
	}
	return coverage.Decide(s.group, plans)
}

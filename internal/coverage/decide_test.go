// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package coverage_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/coverage"
)

var now = time.Date(2026, 5, 20, 12, 0, 0, 0, time.UTC)

// excluded is the label that leaves an object out of backups.
func excluded() map[string]string { return map[string]string{contract.LabelExcludeFromBackup: "true"} }

// TestDecide has the state of claim data, given as method and reason, after a good backup this morning.
func TestDecide(t *testing.T) {
	cases := map[string]struct {
		given func(s *scene)
		want  string // method, or reason
		says  string // part of the message
	}{
		"a volume that its pod's annotation names is taken": {
			func(s *scene) { s.claim("data"); s.pod("web", "data", "data") }, "restic", "Schedule daily",
		},
		"names in the annotation may have space around them": {
			func(s *scene) { s.claim("data"); s.pod("web", "logs , data", "data") }, "restic", "",
		},
		"nobody asks for a volume without annotation": {
			func(s *scene) { s.claim("data"); s.pod("web", "", "data") }, "NotAsked", "backup.velero.io/backup-volumes",
		},
		"a rule asks for it": {
			func(s *scene) {
				s.claim("data")
				s.pod("web", "", "data")
				s.rules = "rules:\n- {name: all, action: include}\n"
			}, "restic", "",
		},
		"rules that cannot be read may have asked for it": {
			func(s *scene) { s.claim("data"); s.pod("web", "", "data"); s.rules = "rules: 7" }, "RulesInvalid", "",
		},
		"in opt-out mode a volume needs no annotation": {
			func(s *scene) {
				s.claim("data")
				s.pod("web", "", "data")
				s.template().DefaultVolumesToFsBackup = ptr.To(true)
			}, "restic", "",
		},
		"in opt-out mode the server's default counts where the schedule does not say": {
			func(s *scene) { s.claim("data"); s.pod("web", "", "data"); s.server.DefaultVolumes = true }, "restic", "",
		},
		"in opt-out mode the other annotation leaves it out": {
			func(s *scene) {
				s.claim("data")
				s.pod("web", "", "data").Annotations[contract.AnnotationVolumesToExclude] = "data"
				s.server.DefaultVolumes = true
			}, "Excluded", "backup-volumes-excludes",
		},
		"pods with the same owner are looked at one by one": {
			func(s *scene) {
				owner := []metav1.OwnerReference{{Kind: "Cluster", Name: "pg", UID: "1"}}
				s.claim("other")
				s.pod("pg-1", "other", "other").OwnerReferences = owner
				s.claim("data")
				s.pod("pg-2", "data", "data").OwnerReferences = owner
			}, "restic", "pg-2",
		},
		"no pod uses it": {
			func(s *scene) { s.claim("data") }, "Unmounted", "backup-excluded=true",
		},
		"it is bound to nothing and no pod uses it": {
			func(s *scene) { s.claim("data").Status.Phase = corev1.ClaimPending }, "ClaimNotBound", "",
		},
		"the claim of a generic ephemeral volume goes with its pod": {
			func(s *scene) {
				s.claim("web-data").Name = "web-data"
				s.group.Claims[0].Name = "web-data"
				pod := s.pod("web", "data")
				mount(pod, corev1.Volume{Name: "data", VolumeSource: corev1.VolumeSource{
					Ephemeral: &corev1.EphemeralVolumeSource{},
				}})
			}, "restic", "",
		},
		"a Job that has completed protects nothing": {
			func(s *scene) {
				s.claim("data")
				s.pod("job", "data", "data").Status.Phase = corev1.PodSucceeded
			}, "PodNotRunning", "",
		},
		"a Job that has completed hides no pod that runs": {
			func(s *scene) {
				s.claim("data")
				s.pod("job", "", "data").Status.Phase = corev1.PodSucceeded
				s.pod("web", "data", "data")
			}, "restic", "web",
		},
		"a Job that has completed does not speak for a pod that runs": {
			func(s *scene) {
				s.claim("data")
				s.pod("job", "data", "data").Status.Phase = corev1.PodSucceeded
				s.pod("web", "", "data")
			}, "NotAsked", "pod foo/web",
		},
		"a pending pod": {
			func(s *scene) { s.claim("data"); s.pod("web", "data", "data").Status.Phase = corev1.PodPending },
			"PodNotRunning", "",
		},
		"a hostPath volume behind the claim": {
			func(s *scene) {
				s.claim("data")
				s.pv("data").Spec.CSI = nil
				s.pv("data").Spec.HostPath = &corev1.HostPathVolumeSource{}
				s.pod("web", "data", "data")
			}, "HostPath", "",
		},
		"a block volume": {
			func(s *scene) {
				s.claim("data").Spec.VolumeMode = ptr.To(corev1.PersistentVolumeBlock)
				s.pod("web", "data", "data")
			}, "BlockVolume", "",
		},
		"a policy skips it": {
			func(s *scene) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.policies["base"] = "version: v1\nvolumePolicies:\n- {conditions: {csi: {}}, action: {type: skip}}\n"
			}, "Policy", "",
		},
		"the policies cannot be read": {
			func(s *scene) { s.claim("data"); s.pod("web", "data", "data"); s.policies["base"] = "version: v7" },
			"PolicyInvalid", "Schedule daily",
		},
		"the policies are not there": {
			func(s *scene) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.template().ResourcePolicy = &corev1.TypedLocalObjectReference{Kind: "configmap", Name: "gone"}
			}, "PolicyInvalid", "gone",
		},
		"no policy: one volume costs the pod the others": {
			func(s *scene) {
				s.claim("data")
				pod := s.pod("web", "data,cache", "data")
				mount(pod, corev1.Volume{Name: "cache", VolumeSource: corev1.VolumeSource{
					CSI: &corev1.CSIVolumeSource{Driver: "inline"},
				}})
			}, "NoPolicy", "volume cache",
		},
		"a claim without a volume costs the pod the others": {
			func(s *scene) {
				s.claim("data")
				s.claim("waits").Status.Phase = corev1.ClaimPending
				s.pod("web", "data", "data", "waits")
				s.policies["base"] = "version: v1\nvolumePolicies:\n" +
					"- {conditions: {pvcLabels: {restic.velero.io/backup: 'true'}}, action: {type: custom}}\n"
			}, "ClaimNotBound", "pvcPhase",
		},
		"unless a policy matches such claims, as that of the base does": {
			func(s *scene) {
				s.claim("data")
				s.claim("waits").Status.Phase = corev1.ClaimPending
				s.pod("web", "data", "data", "waits")
			}, "restic", "",
		},
		"without any policy Velero's node-agent takes it": {
			func(s *scene) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.server.AdmittedPolicies = ""
				s.nodeAgent()
			}, "node-agent", "",
		},
		"without any policy and without node-agent": {
			func(s *scene) { s.claim("data"); s.pod("web", "data", "data"); s.server.AdmittedPolicies = "" },
			"NoPolicy", "",
		},
		"a policy gives it to the node-agent": {
			func(s *scene) {
				s.claim("data")
				s.pod("web", "", "data")
				s.policies["base"] = "version: v1\nvolumePolicies:\n- {conditions: {csi: {}}, action: {type: fs-backup}}\n"
				s.nodeAgent()
			}, "node-agent", "",
		},
		"a CSI snapshot where nobody asks for more": {
			func(s *scene) { s.claim("data"); s.pod("web", "", "data"); s.csi() }, "snapshot", "",
		},
		"a CSI snapshot needs no pod": {
			func(s *scene) { s.claim("data"); s.csi() }, "snapshot", "",
		},
		"no CSI snapshot where restic takes it": {
			func(s *scene) { s.claim("data"); s.pod("web", "data", "data"); s.csi() }, "restic", "",
		},
		"no CSI snapshot for the sake of a Job that has completed": {
			func(s *scene) {
				s.claim("data")
				s.pod("job", "data", "data").Status.Phase = corev1.PodSucceeded
				s.csi()
			}, "PodNotRunning", "",
		},
		"no CSI snapshot as long as the label of an earlier backup is there": {
			func(s *scene) {
				s.claim("data").Labels = map[string]string{contract.LabelClaimed: "true"}
				s.pod("web", "", "data")
				s.csi()
			}, "NotAsked", "",
		},
		"no CSI snapshot for a label that rules may need which cannot be read": {
			func(s *scene) {
				s.claim("data").Labels = map[string]string{contract.LabelClaimed: "true"}
				s.pod("web", "", "data")
				s.csi()
				s.rules = "rules: 7"
			}, "RulesInvalid", "",
		},
		"no CSI snapshot where the schedule makes none": {
			func(s *scene) {
				s.claim("data")
				s.pod("web", "", "data")
				s.csi()
				s.template().SnapshotVolumes = ptr.To(false)
			}, "NotAsked", "",
		},
		"no CSI snapshot without the feature": {
			func(s *scene) { s.claim("data"); s.pod("web", "", "data"); s.csi(); s.server.CSI = false }, "NotAsked", "",
		},
		"no CSI snapshot without a class for the driver": {
			func(s *scene) {
				s.claim("data")
				s.csi()
				s.server.SnapshotClasses[0].Driver = "other"
			}, "Unmounted", "",
		},
		"no CSI snapshot where several classes compete": {
			func(s *scene) {
				s.claim("data")
				s.csi()
				s.server.SnapshotClasses = append(s.server.SnapshotClasses, s.server.SnapshotClasses[0])
			}, "Unmounted", "",
		},
		"the driver's name must be the very same": {
			func(s *scene) { s.claim("data"); s.csi(); s.server.SnapshotClasses[0].Driver = "CSI.example.com" }, "Unmounted", "",
		},
		"but not where the claim names the class": {
			func(s *scene) {
				s.claim("data").Annotations = map[string]string{velerov1.VolumeSnapshotClassDriverPVCAnnotation: "C"}
				s.csi()
				s.server.SnapshotClasses[0].Driver = "CSI.example.com"
			}, "snapshot", "",
		},
		"a class that the schedule names, of several": {
			func(s *scene) {
				s.claim("data")
				s.csi()
				s.server.SnapshotClasses = append(s.server.SnapshotClasses, coverage.SnapshotClass{Name: "d", Driver: "csi.example.com"})
				s.schedules[0].Annotations = map[string]string{
					velerov1.VolumeSnapshotClassDriverBackupAnnotationPrefix + "_csi.example.com": "d",
				}
			}, "snapshot", "",
		},
		"the driver is that of the claim's storage class": {
			func(s *scene) {
				s.claim("data")
				s.csi()
				s.server.Provisioners["fast"] = "another.example.com"
			}, "Unmounted", "",
		},
		"no CSI snapshot of a claim whose storage class is gone": {
			func(s *scene) {
				s.claim("data")
				s.csi()
				s.server.Provisioners = nil
				s.policies["base"] = "version: v1\nvolumePolicies:\n- {conditions: {csi: {}}, action: {type: snapshot}}\n"
			}, "NoSnapshot", `no StorageClass "fast"`,
		},
		"no CSI snapshot of a claim with an empty storage class": {
			func(s *scene) { s.claim("data").Spec.StorageClassName = ptr.To(""); s.csi() }, "Unmounted", "",
		},
		"a snapshot for which only the cluster-wide policies ask": {
			func(s *scene) {
				s.claim("data")
				s.csi()
				s.server.GlobalPolicies = "all"
				s.policies["all"] = "version: v1\nvolumePolicies:\n- {conditions: {csi: {}}, action: {type: snapshot}}\n"
				s.template().SnapshotVolumes = ptr.To(false)
			}, "NoSnapshot", "cluster-wide",
		},
		"a snapshot that cannot be moved is none": {
			func(s *scene) { s.claim("data"); s.csi(); s.server.MoveData = true }, "Unmounted", "",
		},
		"a policy asks for a snapshot, and none can be made": {
			func(s *scene) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.policies["base"] = "version: v1\nvolumePolicies:\n- {conditions: {csi: {}}, action: {type: snapshot}}\n"
			}, "NoSnapshot", "EnableCSI",
		},
		"a native snapshot": {
			func(s *scene) { s.native("data") }, "snapshot", "",
		},
		"a native snapshot in spite of a policy for labels that the claim has": {
			func(s *scene) {
				s.native("data").Labels = map[string]string{"team": "a"}
				s.policies["base"] = "version: v1\nvolumePolicies:\n- {conditions: {pvcLabels: {team: a}}, action: {type: custom}}\n"
			}, "snapshot", "",
		},
		"no native snapshot where a policy for labels asks for one and the schedule makes none": {
			func(s *scene) {
				s.native("data").Labels = map[string]string{"team": "a"}
				s.policies["base"] = "version: v1\nvolumePolicies:\n- {conditions: {pvcLabels: {team: a}}, action: {type: snapshot}}\n"
				s.template().SnapshotVolumes = ptr.To(false)
			}, "Unmounted", "",
		},
		"no native snapshot where a policy for labels says skip": {
			func(s *scene) {
				s.native("data").Labels = map[string]string{"team": "a"}
				s.policies["base"] = "version: v1\nvolumePolicies:\n- {conditions: {pvcLabels: {team: a}}, action: {type: skip}}\n"
			}, "Unmounted", "",
		},
		"no native snapshot of what the plugin takes": {
			func(s *scene) {
				s.native("data")
				s.pod("web", "", "data")
				s.rules = "rules:\n- {name: all, action: include}\n"
			}, "restic", "",
		},
		"no native snapshot of a volume with the label that leaves it out": {
			func(s *scene) { s.native("data"); s.pv("data").Labels = excluded() }, "Unmounted", "",
		},
		"no native snapshot of a volume that the provider does not know": {
			func(s *scene) {
				s.claim("data")
				s.server.SnapshotLocations = []coverage.SnapshotLocation{{Name: "a", Provider: "aws"}}
			}, "Unmounted", "",
		},
		"no native snapshot where PersistentVolumes are left out": {
			func(s *scene) {
				s.native("data")
				s.template().IncludeClusterResources = ptr.To(false)
			}, "Unmounted", "",
		},
		"two locations of a provider: Velero refuses the backup": {
			func(s *scene) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.server.SnapshotLocations = []coverage.SnapshotLocation{{Name: "a", Provider: "aws"}, {Name: "b", Provider: "aws"}}
			}, "NoSchedule", "several VolumeSnapshotLocations",
		},
		"two locations of a provider that the schedule names: Velero refuses the backup": {
			func(s *scene) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.server.SnapshotLocations = []coverage.SnapshotLocation{{Name: "a", Provider: "aws"}, {Name: "b", Provider: "aws"}}
				s.template().VolumeSnapshotLocations = []string{"a", "b"}
			}, "NoSchedule", "two VolumeSnapshotLocations of provider aws, a and b",
		},
		"a default location that does not exist": {
			func(s *scene) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.server.SnapshotLocations = []coverage.SnapshotLocation{{Name: "a", Provider: "aws"}, {Name: "b", Provider: "aws"}}
				s.server.DefaultLocations = map[string]string{"aws": "c"}
			}, "NoSchedule", "no VolumeSnapshotLocation c",
		},
		"a default location of a provider that has but one is not looked at": {
			func(s *scene) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.server.SnapshotLocations = []coverage.SnapshotLocation{{Name: "a", Provider: "aws"}}
				s.server.DefaultLocations = map[string]string{"aws": "c"}
			}, "restic", "",
		},
		"a snapshot location that does not exist": {
			func(s *scene) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.template().VolumeSnapshotLocations = []string{"gone"}
			}, "NoSchedule", "no VolumeSnapshotLocation gone",
		},
		"a storage location that does not exist": {
			func(s *scene) { s.claim("data"); s.pod("web", "data", "data"); s.template().StorageLocation = "gone" },
			"NoSchedule", "no BackupStorageLocation gone",
		},
		"no storage location at all": {
			func(s *scene) { s.claim("data"); s.pod("web", "data", "data"); s.server.StorageLocations = nil },
			"NoSchedule", `of the name "default"`,
		},
		"a read-only storage location": {
			func(s *scene) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.server.StorageLocations[0].ReadOnly = true
			}, "NoSchedule", "default is read-only: set its spec.accessMode",
		},
		"a storage location that is not available": {
			func(s *scene) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.server.StorageLocations[0].Phase = "Unavailable"
			}, "LocationUnavailable", "Schedule daily",
		},
		"a storage location that Velero has not looked at": {
			func(s *scene) { s.claim("data"); s.csi(); s.server.StorageLocations[0].Phase = "" }, "LocationUnavailable", "phase Unknown",
		},
		"the default storage location goes before the server's": {
			func(s *scene) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.server.StorageLocations = []coverage.StorageLocation{
					{Name: "default"}, {Name: "other", Default: true, Phase: "Available"},
				}
			}, "restic", "",
		},
		"what the schedule names goes before the default": {
			func(s *scene) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.server.StorageLocations = []coverage.StorageLocation{
					{Name: "bad", Default: true}, {Name: "good", Phase: "Available"},
				}
				s.template().StorageLocation = "good"
			}, "restic", "",
		},
		"there is no schedule": {
			func(s *scene) { s.claim("data"); s.pod("web", "data", "data"); s.schedules = nil }, "NoSchedule", "create one",
		},
		"the schedule is paused": {
			func(s *scene) { s.claim("data"); s.pod("web", "data", "data"); s.schedules[0].Spec.Paused = true },
			"NoSchedule", "velero schedule unpause daily",
		},
		"the schedule's times make no sense": {
			func(s *scene) { s.claim("data"); s.pod("web", "data", "data"); s.schedules[0].Spec.Schedule = "TZ=" },
			"NoSchedule", "TZ=",
		},
		"the schedule has failed validation": {
			func(s *scene) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.schedules[0].Status.Phase = velerov1.SchedulePhaseFailedValidation
			}, "NoSchedule", "FailedValidation",
		},
		"other namespaces are included": {
			func(s *scene) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.template().IncludedNamespaces = []string{"bar"}
			}, "NoSchedule", "namespace foo",
		},
		"the namespace has the label that leaves it out": {
			func(s *scene) { s.claim("data"); s.pod("web", "data", "data"); s.group.Labels = excluded() },
			"Excluded", "namespace foo",
		},
		"another namespace that the schedule names has the label: Velero refuses the backup": {
			func(s *scene) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.template().IncludedNamespaces = []string{"foo", "bar"}
				s.labeled = []string{"bar"}
			}, "NoSchedule", "it names namespace bar, which has label",
		},
		"another namespace that a pattern of the schedule matches has the label": {
			func(s *scene) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.template().IncludedNamespaces = []string{"foo", "ba?"}
				s.labeled = []string{"bar"}
			}, "restic", "",
		},
		"the claim has the label that leaves it out": {
			func(s *scene) {
				s.claim("data").Labels = excluded()
				s.pod("web", "", "data")
				s.template().DefaultVolumesToFsBackup = ptr.To(true)
				s.csi()
			}, "Excluded", "claim foo/data",
		},
		"the claim is left out, and a pod names its volume": {
			func(s *scene) { s.claim("data").Labels = excluded(); s.pod("web", "data", "data") }, "restic", "",
		},
		"the claim is left out, and a pod names it that is, too": {
			func(s *scene) { s.claim("data").Labels = excluded(); s.pod("web", "data", "data").Labels = excluded() },
			"Excluded", "claim foo/data",
		},
		"the pod has the label that leaves it out": {
			func(s *scene) { s.claim("data"); s.pod("web", "data", "data").Labels = excluded() }, "Excluded", "pod foo/web",
		},
		"claims are left out": {
			func(s *scene) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.template().ExcludedResources = []string{"pvc"}
			}, "ClaimsExcluded", "persistentvolumeclaims",
		},
		"claims are left out by the resource policies": {
			func(s *scene) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.policies["base"] += "includeExcludePolicy: {excludedNamespaceScopedResources: [pvc]}\n"
			}, "ClaimsExcluded", "persistentvolumeclaims",
		},
		"what the schedule includes goes before the resource policies": {
			func(s *scene) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.policies["base"] += "includeExcludePolicy: {excludedNamespaceScopedResources: [pvc]}\n"
				s.template().IncludedNamespaceScopedResources = []string{"pods", "persistentvolumeclaims"}
			}, "restic", "",
		},
		"resource policies with filters and old filters: Velero refuses the backup": {
			func(s *scene) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.policies["base"] += "includeExcludePolicy: {excludedNamespaceScopedResources: [secrets]}\n"
				s.template().ExcludedResources = []string{"events"}
			}, "PolicyInvalid", "includeClusterResources",
		},
		"in the cluster-wide policies other sections do not count": {
			func(s *scene) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.server.GlobalPolicies = "all"
				s.policies["all"] = "version: v1\nincludeExcludePolicy: {excludedNamespaceScopedResources: [pvc]}\n" +
					"namespacedFilterPolicies: [{namespaces: [foo], resourceFilters: [{kinds: [pods]}]}]\n"
				s.template().ExcludedResources = []string{"events"}
			}, "restic", "",
		},
		"a filter policy of the namespace may leave out anything": {
			func(s *scene) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.policies["base"] += "namespacedFilterPolicies: [{namespaces: [fo*], resourceFilters: [{kinds: [pods]}]}]\n"
			}, "Excluded", "namespacedFilterPolicies",
		},
		"a filter policy of another namespace": {
			func(s *scene) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.policies["base"] += "namespacedFilterPolicies: [{namespaces: [bar], resourceFilters: [{kinds: [pods]}]}]\n"
			}, "restic", "",
		},
		"a filter policy of volumes may leave out any, and no snapshot is sure": {
			func(s *scene) {
				s.native("data")
				s.policies["base"] += "clusterScopedFilterPolicy: {resourceFilters: [{kinds: [pv], names: [a]}]}\n"
			}, "NoSnapshot", "clusterScopedFilterPolicy",
		},
		"a filter policy of other kinds of the cluster": {
			func(s *scene) {
				s.native("data")
				s.policies["base"] += "clusterScopedFilterPolicy: {resourceFilters: [{kinds: [clusterroles], names: [a]}]}\n"
			}, "snapshot", "",
		},
		"a section that Velero does not know: it refuses the backup": {
			func(s *scene) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.policies["base"] += "volumePolicy: []\n"
			}, "PolicyInvalid", "section volumePolicy",
		},
		"pods are left out": {
			func(s *scene) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.template().ExcludedResources = []string{"pods"}
			}, "Excluded", "include pods",
		},
		"the selector matches nothing of it": {
			func(s *scene) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.template().LabelSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}
			}, "NoSchedule", "label selector",
		},
		"the selector matches the pod, which brings the claim": {
			func(s *scene) {
				s.claim("data")
				s.pod("web", "data", "data").Labels = map[string]string{"app": "web"}
				s.template().LabelSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}
			}, "restic", "",
		},
		"the claim is declared to need no backup": {
			func(s *scene) {
				s.claim("data").Annotations = map[string]string{contract.AnnotationClaimIgnored: "true"}
				s.pod("web", "data", "data")
			}, "Ignored", "",
		},
		"only the very word true declares that": {
			func(s *scene) {
				s.claim("data").Annotations = map[string]string{contract.AnnotationClaimIgnored: "yes"}
				s.pod("web", "", "data")
			}, "NotAsked", "",
		},
		"of two schedules the better one counts": {
			func(s *scene) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.template().SnapshotVolumes = ptr.To(false)
				s.template().ExcludedResources = []string{"pvc"}
				s.schedules = append(s.schedules, schedule("weekly"))
			}, "restic", "weekly",
		},
		"on Windows": {
			func(s *scene) { s.claim("data"); s.pod("web", "data", "data"); s.group.Pods[0].NodeOS = "windows" }, "Windows", "",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := newScene()
			c.given(s)
			name := "data"
			if _, ephemeral := s.decide(t)["web-data"]; ephemeral {
				name = "web-data"
			}
			state := s.decide(t)[name].At(coverage.NewMoment(now, 0), coverage.Outcome{Success: now.Add(-time.Hour)})
			got := string(state.Reason)
			if state.Protected {
				got = string(state.Method)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("state (-want +got):\n%s\n%+v", diff, state)
			}
			if !strings.Contains(state.Message, c.says) || state.Message == "" {
				t.Errorf("the message does not say %q: %s", c.says, state.Message)
			}
		})
	}
}

// TestAt has what time and the outcome of backups make of a claim that restic takes.
func TestAt(t *testing.T) {
	day := 24 * time.Hour
	failure := coverage.Outcome{Success: now.Add(-12 * time.Hour), Failure: now.Add(-time.Hour), Message: "no space"}
	cases := map[string]struct {
		outcome    coverage.Outcome
		staleAfter time.Duration
		snapshots  bool
		want       coverage.Reason
	}{
		"no backup yet":                     {want: coverage.ReasonNeverSucceeded},
		"only ever failed":                  {outcome: coverage.Outcome{Failure: now}, want: coverage.ReasonNeverSucceeded},
		"succeeded in the last run":         {outcome: coverage.Outcome{Success: now.Add(-11 * time.Hour)}},
		"one run was due since":             {outcome: coverage.Outcome{Success: now.Add(-12 * time.Hour)}},
		"one run and a day":                 {outcome: coverage.Outcome{Success: now.Add(-34 * time.Hour)}},
		"two runs were due since":           {outcome: coverage.Outcome{Success: now.Add(-36 * time.Hour)}, want: coverage.ReasonStale},
		"failed after it had succeeded":     {outcome: failure, want: coverage.ReasonLastFailed},
		"succeeded after it had failed":     {outcome: coverage.Outcome{Success: now, Failure: now.Add(-time.Hour)}},
		"older than was allowed":            {outcome: coverage.Outcome{Success: now.Add(-5 * time.Hour)}, staleAfter: 4 * time.Hour, want: coverage.ReasonStale},
		"allowed to be older than two runs": {outcome: coverage.Outcome{Success: now.Add(-3 * day)}, staleAfter: 7 * day},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := newScene()
			s.claim("data")
			s.pod("web", "data", "data")
			state := s.decide(t)["data"].At(coverage.NewMoment(now, c.staleAfter), c.outcome)
			if state.Reason != c.want || state.Protected != (c.want == "") || state.Method != coverage.MethodRestic {
				t.Errorf("got %+v, want reason %q", state, c.want)
			}
			if state.LastSuccess != c.outcome.Success {
				t.Errorf("the last success is %s", state.LastSuccess)
			}
		})
	}
}

// TestStale has a claim that two Schedules take.
func TestStale(t *testing.T) {
	cases := map[string]struct {
		given   func(s *scene)
		age     time.Duration            // of the last success
		running map[string]time.Duration // since when Backups of Schedules are on their way
		want    coverage.Reason
	}{
		"the one that comes more often counts":                 {func(*scene) {}, 5 * 24 * time.Hour, nil, coverage.ReasonStale},
		"whatever made the last backup":                        {func(*scene) {}, 24 * time.Hour, nil, ""},
		"a new Schedule is not held against the others":        {func(s *scene) { s.schedules[0].CreationTimestamp = metav1.NewTime(now.Add(-time.Hour)) }, 5 * 24 * time.Hour, nil, ""},
		"a Schedule in effect for two runs is":                 {func(s *scene) { s.schedules[0].CreationTimestamp = metav1.NewTime(now.Add(-36 * time.Hour)) }, 5 * 24 * time.Hour, nil, coverage.ReasonStale},
		"where all are new the expression alone counts":        {func(s *scene) { s.allNew() }, 5 * 24 * time.Hour, nil, coverage.ReasonStale},
		"the Schedule that comes more often is paused":         {func(s *scene) { s.schedules[0].Spec.Paused = true }, 5 * 24 * time.Hour, nil, ""},
		"a backup on its way":                                  {func(*scene) {}, 50 * time.Hour, map[string]time.Duration{"daily": 20 * time.Hour}, ""},
		"runs that were missed before count all the same":      {func(*scene) {}, 5 * 24 * time.Hour, map[string]time.Duration{"daily": 20 * time.Hour}, coverage.ReasonStale},
		"without the backup it would be stale":                 {func(*scene) {}, 50 * time.Hour, nil, coverage.ReasonStale},
		"a backup on its way of the one that comes less often": {func(*scene) {}, 50 * time.Hour, map[string]time.Duration{"monthly": 20 * time.Hour}, coverage.ReasonStale},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := newScene()
			s.claim("data")
			s.pod("web", "data", "data")
			monthly := schedule("monthly")
			monthly.Spec.Schedule = "0 0 1 * *"
			s.schedules = append(s.schedules, monthly)
			c.given(s)
			moment := coverage.NewMoment(now, 0)
			moment.Running = map[string]time.Time{}
			for name, since := range c.running {
				moment.Running[name] = now.Add(-since)
			}
			if state := s.decide(t)["data"].At(moment, coverage.Outcome{Success: now.Add(-c.age)}); state.Reason != c.want {
				t.Errorf("got %+v, want reason %q", state, c.want)
			}
		})
	}
}

// TestReasonsAreComplete finds a reason that a state can have and that is not ranked.
func TestReasonsAreComplete(t *testing.T) {
	seen := map[coverage.Reason]bool{}
	for _, reason := range coverage.Reasons() {
		if reason == "" || seen[reason] {
			t.Errorf("reason %q is empty or there twice", reason)
		}
		seen[reason] = true
	}
}

func TestReadArguments(t *testing.T) {
	var got coverage.Server
	if err := got.ReadArguments([]string{
		"--uploader-type=kopia", "--default-volumes-to-fs-backup", "--features=EnableCSI,Other",
		"--global-backup-volume-policies-configmap", "all", "--default-snapshot-move-data=true",
		"--default-volume-snapshot-locations=aws:a,gcp:g", "--default-backup-storage-location", "main", "-v", "--fs-backup-timeout", "4h",
	}); err != nil {
		t.Fatal(err)
	}
	want := coverage.Server{
		DefaultVolumes: true, MoveData: true, CSI: true, GlobalPolicies: "all", DefaultStorage: "main",
		DefaultLocations: map[string]string{"aws": "a", "gcp": "g"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("server (-want +got):\n%s", diff)
	}
}

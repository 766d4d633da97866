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

// excluded has the label that excludes an object from backups.
func excluded() map[string]string { return map[string]string{contract.LabelExcludeFromBackup: "true"} }

// TestDecide compares the state of claim data, as its method or its reason, after a successful backup this morning.
func TestDecide(t *testing.T) {
	cases := map[string]struct {
		given func(s *fixture)
		want  string // method, or reason
		says  string // part of the message
	}{
		"the annotation of the pod names the volume": {
			func(s *fixture) { s.claim("data"); s.pod("web", "data", "data") }, "restic", "Schedule daily",
		},
		"spaces around names in the annotation": {
			func(s *fixture) { s.claim("data"); s.pod("web", "logs , data", "data") }, "restic", "",
		},
		"no annotation": {
			func(s *fixture) { s.claim("data"); s.pod("web", "", "data") }, "NotAsked", "backup.velero.io/backup-volumes",
		},
		"a rule includes the volume": {
			func(s *fixture) {
				s.claim("data")
				s.pod("web", "", "data")
				s.rules = "rules:\n- {name: all, action: include}\n"
			}, "restic", "",
		},
		"invalid rules": {
			func(s *fixture) { s.claim("data"); s.pod("web", "", "data"); s.rules = "rules: 7" }, "RulesInvalid", "",
		},
		"opt-out mode": {
			func(s *fixture) {
				s.claim("data")
				s.pod("web", "", "data")
				s.template().DefaultVolumesToFsBackup = ptr.To(true)
			}, "restic", "",
		},
		"opt-out mode as the server's default": {
			func(s *fixture) { s.claim("data"); s.pod("web", "", "data"); s.server.DefaultVolumes = true }, "restic", "",
		},
		"opt-out mode, and the annotation excludes the volume": {
			func(s *fixture) {
				s.claim("data")
				s.pod("web", "", "data").Annotations[contract.AnnotationVolumesToExclude] = "data"
				s.server.DefaultVolumes = true
			}, "Excluded", "backup-volumes-excludes",
		},
		"each pod of an owner counts for itself": {
			func(s *fixture) {
				owner := []metav1.OwnerReference{{Kind: "Cluster", Name: "pg", UID: "1"}}
				s.claim("other")
				s.pod("pg-1", "other", "other").OwnerReferences = owner
				s.claim("data")
				s.pod("pg-2", "data", "data").OwnerReferences = owner
			}, "restic", "pg-2",
		},
		"no pod uses it": {
			func(s *fixture) { s.claim("data") }, "Unmounted", "backup-excluded=true",
		},
		"it is not bound, and no pod uses it": {
			func(s *fixture) { s.claim("data").Status.Phase = corev1.ClaimPending }, "ClaimNotBound", "",
		},
		"the claim of a generic ephemeral volume": {
			func(s *fixture) {
				s.claim("web-data").Name = "web-data"
				s.group.Claims[0].Name = "web-data"
				pod := s.pod("web", "data")
				mount(pod, corev1.Volume{Name: "data", VolumeSource: corev1.VolumeSource{
					Ephemeral: &corev1.EphemeralVolumeSource{},
				}})
			}, "restic", "",
		},
		"a completed Job": {
			func(s *fixture) {
				s.claim("data")
				s.pod("job", "data", "data").Status.Phase = corev1.PodSucceeded
			}, "PodNotRunning", "",
		},
		"a completed Job and a running pod that names the volume": {
			func(s *fixture) {
				s.claim("data")
				s.pod("job", "", "data").Status.Phase = corev1.PodSucceeded
				s.pod("web", "data", "data")
			}, "restic", "web",
		},
		"a completed Job that names the volume and a running pod that does not": {
			func(s *fixture) {
				s.claim("data")
				s.pod("job", "data", "data").Status.Phase = corev1.PodSucceeded
				s.pod("web", "", "data")
			}, "NotAsked", "pod foo/web",
		},
		"a pending pod": {
			func(s *fixture) { s.claim("data"); s.pod("web", "data", "data").Status.Phase = corev1.PodPending },
			"PodNotRunning", "",
		},
		"a hostPath PersistentVolume": {
			func(s *fixture) {
				s.claim("data")
				s.pv("data").Spec.CSI = nil
				s.pv("data").Spec.HostPath = &corev1.HostPathVolumeSource{}
				s.pod("web", "data", "data")
			}, "HostPath", "",
		},
		"a block volume": {
			func(s *fixture) {
				s.claim("data").Spec.VolumeMode = ptr.To(corev1.PersistentVolumeBlock)
				s.pod("web", "data", "data")
			}, "BlockVolume", "",
		},
		"a policy skips it": {
			func(s *fixture) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.policies["base"] = "version: v1\nvolumePolicies:\n- {conditions: {csi: {}}, action: {type: skip}}\n"
			}, "Policy", "",
		},
		"the policies are invalid": {
			func(s *fixture) { s.claim("data"); s.pod("web", "data", "data"); s.policies["base"] = "version: v7" },
			"PolicyInvalid", "Schedule daily",
		},
		"the policies do not exist": {
			func(s *fixture) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.template().ResourcePolicy = &corev1.TypedLocalObjectReference{Kind: "configmap", Name: "gone"}
			}, "PolicyInvalid", "gone",
		},
		"no policy: another volume excludes the pod": {
			func(s *fixture) {
				s.claim("data")
				pod := s.pod("web", "data,cache", "data")
				mount(pod, corev1.Volume{Name: "cache", VolumeSource: corev1.VolumeSource{
					CSI: &corev1.CSIVolumeSource{Driver: "inline"},
				}})
			}, "NoPolicy", "volume cache",
		},
		"an unbound claim excludes the pod": {
			func(s *fixture) {
				s.claim("data")
				s.claim("waits").Status.Phase = corev1.ClaimPending
				s.pod("web", "data", "data", "waits")
				s.policies["base"] = "version: v1\nvolumePolicies:\n" +
					"- {conditions: {pvcLabels: {restic.velero.io/backup: 'true'}}, action: {type: custom}}\n"
			}, "ClaimNotBound", "pvcPhase",
		},
		"an unbound claim that the base policy matches": {
			func(s *fixture) {
				s.claim("data")
				s.claim("waits").Status.Phase = corev1.ClaimPending
				s.pod("web", "data", "data", "waits")
			}, "restic", "",
		},
		"without policies, with node-agent": {
			func(s *fixture) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.server.AdmittedPolicies = ""
				s.nodeAgent()
			}, "node-agent", "",
		},
		"without policies and without node-agent": {
			func(s *fixture) { s.claim("data"); s.pod("web", "data", "data"); s.server.AdmittedPolicies = "" },
			"NoPolicy", "",
		},
		"a policy gives it to the node-agent": {
			func(s *fixture) {
				s.claim("data")
				s.pod("web", "", "data")
				s.policies["base"] = "version: v1\nvolumePolicies:\n- {conditions: {csi: {}}, action: {type: fs-backup}}\n"
				s.nodeAgent()
			}, "node-agent", "",
		},
		"a CSI snapshot": {
			func(s *fixture) { s.claim("data"); s.pod("web", "", "data"); s.csi() }, "snapshot", "",
		},
		"a CSI snapshot without a pod": {
			func(s *fixture) { s.claim("data"); s.csi() }, "snapshot", "",
		},
		"no CSI snapshot if restic backs it up": {
			func(s *fixture) { s.claim("data"); s.pod("web", "data", "data"); s.csi() }, "restic", "",
		},
		"no CSI snapshot if a completed Job names the volume": {
			func(s *fixture) {
				s.claim("data")
				s.pod("job", "data", "data").Status.Phase = corev1.PodSucceeded
				s.csi()
			}, "PodNotRunning", "",
		},
		"no CSI snapshot while a label of an earlier backup exists": {
			func(s *fixture) {
				s.claim("data").Labels = map[string]string{contract.LabelClaimed: "true"}
				s.pod("web", "", "data")
				s.csi()
			}, "NotAsked", "",
		},
		"no CSI snapshot while invalid rules keep the label": {
			func(s *fixture) {
				s.claim("data").Labels = map[string]string{contract.LabelClaimed: "true"}
				s.pod("web", "", "data")
				s.csi()
				s.rules = "rules: 7"
			}, "RulesInvalid", "",
		},
		"no CSI snapshot if the schedule disables snapshots": {
			func(s *fixture) {
				s.claim("data")
				s.pod("web", "", "data")
				s.csi()
				s.template().SnapshotVolumes = ptr.To(false)
			}, "NotAsked", "",
		},
		"no CSI snapshot without the feature": {
			func(s *fixture) { s.claim("data"); s.pod("web", "", "data"); s.csi(); s.server.CSI = false }, "NotAsked", "",
		},
		"no CSI snapshot without a class for the driver": {
			func(s *fixture) {
				s.claim("data")
				s.csi()
				s.server.SnapshotClasses[0].Driver = "other"
			}, "Unmounted", "",
		},
		"no CSI snapshot with several classes for the driver": {
			func(s *fixture) {
				s.claim("data")
				s.csi()
				s.server.SnapshotClasses = append(s.server.SnapshotClasses, s.server.SnapshotClasses[0])
			}, "Unmounted", "",
		},
		"the driver's name is case-sensitive": {
			func(s *fixture) { s.claim("data"); s.csi(); s.server.SnapshotClasses[0].Driver = "CSI.example.com" }, "Unmounted", "",
		},
		"the driver's name is case-insensitive if the claim names the class": {
			func(s *fixture) {
				s.claim("data").Annotations = map[string]string{velerov1.VolumeSnapshotClassDriverPVCAnnotation: "C"}
				s.csi()
				s.server.SnapshotClasses[0].Driver = "CSI.example.com"
			}, "snapshot", "",
		},
		"the schedule names one of several classes": {
			func(s *fixture) {
				s.claim("data")
				s.csi()
				s.server.SnapshotClasses = append(s.server.SnapshotClasses, coverage.SnapshotClass{Name: "d", Driver: "csi.example.com"})
				s.schedules[0].Annotations = map[string]string{
					velerov1.VolumeSnapshotClassDriverBackupAnnotationPrefix + "_csi.example.com": "d",
				}
			}, "snapshot", "",
		},
		"the claim's storage class decides on the driver": {
			func(s *fixture) {
				s.claim("data")
				s.csi()
				s.server.Provisioners["fast"] = "another.example.com"
			}, "Unmounted", "",
		},
		"no CSI snapshot if the storage class does not exist": {
			func(s *fixture) {
				s.claim("data")
				s.csi()
				s.server.Provisioners = nil
				s.policies["base"] = "version: v1\nvolumePolicies:\n- {conditions: {csi: {}}, action: {type: snapshot}}\n"
			}, "NoSnapshot", `no StorageClass "fast"`,
		},
		"no CSI snapshot of a claim with an empty storage class": {
			func(s *fixture) { s.claim("data").Spec.StorageClassName = ptr.To(""); s.csi() }, "Unmounted", "",
		},
		"only the cluster-wide policies require a snapshot": {
			func(s *fixture) {
				s.claim("data")
				s.csi()
				s.server.GlobalPolicies = "all"
				s.policies["all"] = "version: v1\nvolumePolicies:\n- {conditions: {csi: {}}, action: {type: snapshot}}\n"
				s.template().SnapshotVolumes = ptr.To(false)
			}, "NoSnapshot", "cluster-wide",
		},
		"the data of a snapshot cannot be moved": {
			func(s *fixture) { s.claim("data"); s.csi(); s.server.MoveData = true }, "Unmounted", "",
		},
		"a policy requires a snapshot that is not possible": {
			func(s *fixture) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.policies["base"] = "version: v1\nvolumePolicies:\n- {conditions: {csi: {}}, action: {type: snapshot}}\n"
			}, "NoSnapshot", "EnableCSI",
		},
		"a native snapshot": {
			func(s *fixture) { s.native("data") }, "snapshot", "",
		},
		"a native snapshot although a policy matches the claim's labels": {
			func(s *fixture) {
				s.native("data").Labels = map[string]string{"team": "a"}
				s.policies["base"] = "version: v1\nvolumePolicies:\n- {conditions: {pvcLabels: {team: a}}, action: {type: custom}}\n"
			}, "snapshot", "",
		},
		"no native snapshot if a policy for labels requires one and the schedule disables snapshots": {
			func(s *fixture) {
				s.native("data").Labels = map[string]string{"team": "a"}
				s.policies["base"] = "version: v1\nvolumePolicies:\n- {conditions: {pvcLabels: {team: a}}, action: {type: snapshot}}\n"
				s.template().SnapshotVolumes = ptr.To(false)
			}, "Unmounted", "",
		},
		"no native snapshot if a policy for labels skips the claim": {
			func(s *fixture) {
				s.native("data").Labels = map[string]string{"team": "a"}
				s.policies["base"] = "version: v1\nvolumePolicies:\n- {conditions: {pvcLabels: {team: a}}, action: {type: skip}}\n"
			}, "Unmounted", "",
		},
		"no native snapshot if restic backs it up": {
			func(s *fixture) {
				s.native("data")
				s.pod("web", "", "data")
				s.rules = "rules:\n- {name: all, action: include}\n"
			}, "restic", "",
		},
		"no native snapshot of a volume that its label excludes": {
			func(s *fixture) { s.native("data"); s.pv("data").Labels = excluded() }, "Unmounted", "",
		},
		"no native snapshot if the provider does not support the volume": {
			func(s *fixture) {
				s.claim("data")
				s.server.SnapshotLocations = []coverage.SnapshotLocation{{Name: "a", Provider: "aws"}}
			}, "Unmounted", "",
		},
		"no native snapshot if the backup excludes PersistentVolumes": {
			func(s *fixture) {
				s.native("data")
				s.template().IncludeClusterResources = ptr.To(false)
			}, "Unmounted", "",
		},
		"a provider has two locations and no default": {
			func(s *fixture) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.server.SnapshotLocations = []coverage.SnapshotLocation{{Name: "a", Provider: "aws"}, {Name: "b", Provider: "aws"}}
			}, "NoSchedule", "several VolumeSnapshotLocations",
		},
		"the schedule names two locations of a provider": {
			func(s *fixture) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.server.SnapshotLocations = []coverage.SnapshotLocation{{Name: "a", Provider: "aws"}, {Name: "b", Provider: "aws"}}
				s.template().VolumeSnapshotLocations = []string{"a", "b"}
			}, "NoSchedule", "two VolumeSnapshotLocations of provider aws, a and b",
		},
		"the default location does not exist": {
			func(s *fixture) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.server.SnapshotLocations = []coverage.SnapshotLocation{{Name: "a", Provider: "aws"}, {Name: "b", Provider: "aws"}}
				s.server.DefaultLocations = map[string]string{"aws": "c"}
			}, "NoSchedule", "no VolumeSnapshotLocation c",
		},
		"the default location of a provider with only one location is ignored": {
			func(s *fixture) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.server.SnapshotLocations = []coverage.SnapshotLocation{{Name: "a", Provider: "aws"}}
				s.server.DefaultLocations = map[string]string{"aws": "c"}
			}, "restic", "",
		},
		"the snapshot location does not exist": {
			func(s *fixture) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.template().VolumeSnapshotLocations = []string{"gone"}
			}, "NoSchedule", "no VolumeSnapshotLocation gone",
		},
		"the storage location does not exist": {
			func(s *fixture) { s.claim("data"); s.pod("web", "data", "data"); s.template().StorageLocation = "gone" },
			"NoSchedule", "no BackupStorageLocation gone",
		},
		"no storage location at all": {
			func(s *fixture) { s.claim("data"); s.pod("web", "data", "data"); s.server.StorageLocations = nil },
			"NoSchedule", `the location "default"`,
		},
		"a read-only storage location": {
			func(s *fixture) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.server.StorageLocations[0].ReadOnly = true
			}, "NoSchedule", "default is read-only: set its spec.accessMode",
		},
		"a storage location that is not available": {
			func(s *fixture) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.server.StorageLocations[0].Phase = "Unavailable"
			}, "LocationUnavailable", "Schedule daily",
		},
		"a storage location that Velero has not validated": {
			func(s *fixture) { s.claim("data"); s.csi(); s.server.StorageLocations[0].Phase = "" }, "LocationUnavailable", "phase Unknown",
		},
		"the default storage location takes precedence over the server's": {
			func(s *fixture) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.server.StorageLocations = []coverage.StorageLocation{
					{Name: "default"}, {Name: "other", Default: true, Phase: "Available"},
				}
			}, "restic", "",
		},
		"the schedule's storage location takes precedence over the default": {
			func(s *fixture) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.server.StorageLocations = []coverage.StorageLocation{
					{Name: "bad", Default: true}, {Name: "good", Phase: "Available"},
				}
				s.template().StorageLocation = "good"
			}, "restic", "",
		},
		"there is no schedule": {
			func(s *fixture) { s.claim("data"); s.pod("web", "data", "data"); s.schedules = nil }, "NoSchedule", "create one",
		},
		"the schedule is paused": {
			func(s *fixture) { s.claim("data"); s.pod("web", "data", "data"); s.schedules[0].Spec.Paused = true },
			"NoSchedule", "velero schedule unpause daily",
		},
		"the schedule's cron expression is invalid": {
			func(s *fixture) { s.claim("data"); s.pod("web", "data", "data"); s.schedules[0].Spec.Schedule = "TZ=" },
			"NoSchedule", "TZ=",
		},
		"the schedule has failed validation": {
			func(s *fixture) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.schedules[0].Status.Phase = velerov1.SchedulePhaseFailedValidation
			}, "NoSchedule", "FailedValidation",
		},
		"other namespaces are included": {
			func(s *fixture) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.template().IncludedNamespaces = []string{"bar"}
			}, "NoSchedule", "namespace foo",
		},
		"a label excludes the namespace": {
			func(s *fixture) { s.claim("data"); s.pod("web", "data", "data"); s.group.Labels = excluded() },
			"Excluded", "namespace foo",
		},
		"a label excludes another namespace that the schedule names": {
			func(s *fixture) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.template().IncludedNamespaces = []string{"foo", "bar"}
				s.labeled = []string{"bar"}
			}, "NoSchedule", "it includes namespace bar by name",
		},
		"a label excludes another namespace that a pattern of the schedule matches": {
			func(s *fixture) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.template().IncludedNamespaces = []string{"foo", "ba?"}
				s.labeled = []string{"bar"}
			}, "restic", "",
		},
		"a label excludes the claim": {
			func(s *fixture) {
				s.claim("data").Labels = excluded()
				s.pod("web", "", "data")
				s.template().DefaultVolumesToFsBackup = ptr.To(true)
				s.csi()
			}, "Excluded", "claim foo/data",
		},
		"a label excludes the claim, and a pod names its volume": {
			func(s *fixture) { s.claim("data").Labels = excluded(); s.pod("web", "data", "data") }, "restic", "",
		},
		"labels exclude the claim and a pod that names its volume": {
			func(s *fixture) {
				s.claim("data").Labels = excluded()
				s.pod("web", "data", "data").Labels = excluded()
			},
			"Excluded", "claim foo/data",
		},
		"a label excludes the pod": {
			func(s *fixture) { s.claim("data"); s.pod("web", "data", "data").Labels = excluded() }, "Excluded", "pod foo/web",
		},
		"the backup excludes claims": {
			func(s *fixture) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.template().ExcludedResources = []string{"pvc"}
			}, "ClaimsExcluded", "persistentvolumeclaims",
		},
		"the resource policies exclude claims": {
			func(s *fixture) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.policies["base"] += "includeExcludePolicy: {excludedNamespaceScopedResources: [pvc]}\n"
			}, "ClaimsExcluded", "persistentvolumeclaims",
		},
		"the schedule's lists take precedence over the resource policies": {
			func(s *fixture) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.policies["base"] += "includeExcludePolicy: {excludedNamespaceScopedResources: [pvc]}\n"
				s.template().IncludedNamespaceScopedResources = []string{"pods", "persistentvolumeclaims"}
			}, "restic", "",
		},
		"old filters and resource policies with filters": {
			func(s *fixture) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.policies["base"] += "includeExcludePolicy: {excludedNamespaceScopedResources: [secrets]}\n"
				s.template().ExcludedResources = []string{"events"}
			}, "PolicyInvalid", "includeClusterResources",
		},
		"other sections of the cluster-wide policies have no effect": {
			func(s *fixture) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.server.GlobalPolicies = "all"
				s.policies["all"] = "version: v1\nincludeExcludePolicy: {excludedNamespaceScopedResources: [pvc]}\n" +
					"namespacedFilterPolicies: [{namespaces: [foo], resourceFilters: [{kinds: [pods]}]}]\n"
				s.template().ExcludedResources = []string{"events"}
			}, "restic", "",
		},
		"a filter policy for the namespace": {
			func(s *fixture) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.policies["base"] += "namespacedFilterPolicies: [{namespaces: [fo*], resourceFilters: [{kinds: [pods]}]}]\n"
			}, "Excluded", "namespacedFilterPolicies",
		},
		"a filter policy for another namespace": {
			func(s *fixture) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.policies["base"] += "namespacedFilterPolicies: [{namespaces: [bar], resourceFilters: [{kinds: [pods]}]}]\n"
			}, "restic", "",
		},
		"a filter policy for PersistentVolumes": {
			func(s *fixture) {
				s.native("data")
				s.policies["base"] += "clusterScopedFilterPolicy: {resourceFilters: [{kinds: [pv], names: [a]}]}\n"
			}, "NoSnapshot", "clusterScopedFilterPolicy",
		},
		"a filter policy for other cluster-scoped kinds": {
			func(s *fixture) {
				s.native("data")
				s.policies["base"] += "clusterScopedFilterPolicy: {resourceFilters: [{kinds: [clusterroles], names: [a]}]}\n"
			}, "snapshot", "",
		},
		"the policies have an unknown section": {
			func(s *fixture) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.policies["base"] += "volumePolicy: []\n"
			}, "PolicyInvalid", "section volumePolicy",
		},
		"the backup excludes pods": {
			func(s *fixture) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.template().ExcludedResources = []string{"pods"}
			}, "Excluded", "include pods",
		},
		"the selector matches neither pod nor claim": {
			func(s *fixture) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.template().LabelSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}
			}, "NoSchedule", "label selector",
		},
		"the selector matches the pod": {
			func(s *fixture) {
				s.claim("data")
				s.pod("web", "data", "data").Labels = map[string]string{"app": "web"}
				s.template().LabelSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}
			}, "restic", "",
		},
		"an annotation declares that the claim needs no backup": {
			func(s *fixture) {
				s.claim("data").Annotations = map[string]string{contract.AnnotationClaimIgnored: "true"}
				s.pod("web", "data", "data")
			}, "Ignored", "",
		},
		"that annotation with another value than true": {
			func(s *fixture) {
				s.claim("data").Annotations = map[string]string{contract.AnnotationClaimIgnored: "yes"}
				s.pod("web", "", "data")
			}, "NotAsked", "",
		},
		"the better one of two schedules counts": {
			func(s *fixture) {
				s.claim("data")
				s.pod("web", "data", "data")
				s.template().SnapshotVolumes = ptr.To(false)
				s.template().ExcludedResources = []string{"pvc"}
				s.schedules = append(s.schedules, schedule("weekly"))
			}, "restic", "weekly",
		},
		"on Windows": {
			func(s *fixture) { s.claim("data"); s.pod("web", "data", "data"); s.group.Pods[0].NodeOS = "windows" }, "Windows", "",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := newFixture()
			c.given(s)
			name := "data"
			if _, ephemeral := s.decide(t)["web-data"]; ephemeral {
				name = "web-data"
			}
			state := s.decide(t)[name].State(coverage.NewStaleness(now, 0), coverage.Outcome{Success: now.Add(-time.Hour)})
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

// TestState varies the time and the outcome of backups for a claim that restic backs up.
func TestState(t *testing.T) {
	day := 24 * time.Hour
	failure := coverage.Outcome{Success: now.Add(-12 * time.Hour), Failure: now.Add(-time.Hour), Message: "no space"}
	cases := map[string]struct {
		outcome    coverage.Outcome
		staleAfter time.Duration
		snapshots  bool
		want       coverage.Reason
	}{
		"no backup yet":                 {want: coverage.ReasonNeverSucceeded},
		"all failed":                    {outcome: coverage.Outcome{Failure: now}, want: coverage.ReasonNeverSucceeded},
		"succeeded in the last run":     {outcome: coverage.Outcome{Success: now.Add(-11 * time.Hour)}},
		"one run became due since":      {outcome: coverage.Outcome{Success: now.Add(-12 * time.Hour)}},
		"one run and a day":             {outcome: coverage.Outcome{Success: now.Add(-34 * time.Hour)}},
		"two runs became due since":     {outcome: coverage.Outcome{Success: now.Add(-36 * time.Hour)}, want: coverage.ReasonStale},
		"failed after a success":        {outcome: failure, want: coverage.ReasonLastFailed},
		"succeeded after a failure":     {outcome: coverage.Outcome{Success: now, Failure: now.Add(-time.Hour)}},
		"older than the limit":          {outcome: coverage.Outcome{Success: now.Add(-5 * time.Hour)}, staleAfter: 4 * time.Hour, want: coverage.ReasonStale},
		"a limit of more than two runs": {outcome: coverage.Outcome{Success: now.Add(-3 * day)}, staleAfter: 7 * day},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := newFixture()
			s.claim("data")
			s.pod("web", "data", "data")
			state := s.decide(t)["data"].State(coverage.NewStaleness(now, c.staleAfter), c.outcome)
			if state.Reason != c.want || state.Protected != (c.want == "") || state.Method != coverage.MethodRestic {
				t.Errorf("got %+v, want reason %q", state, c.want)
			}
			if state.LastSuccess != c.outcome.Success {
				t.Errorf("the last success is %s", state.LastSuccess)
			}
		})
	}
}

// TestStale has a claim that a daily and a monthly Schedule include.
func TestStale(t *testing.T) {
	cases := map[string]struct {
		given   func(s *fixture)
		age     time.Duration            // of the last success
		running map[string]time.Duration // how long Backups of Schedules have been in progress
		want    coverage.Reason
	}{
		"the more frequent Schedule counts":          {func(*fixture) {}, 5 * 24 * time.Hour, nil, coverage.ReasonStale},
		"a recent success":                           {func(*fixture) {}, 24 * time.Hour, nil, ""},
		"a new Schedule does not count":              {func(s *fixture) { s.schedules[0].CreationTimestamp = metav1.NewTime(now.Add(-time.Hour)) }, 5 * 24 * time.Hour, nil, ""},
		"a Schedule that had two runs counts":        {func(s *fixture) { s.schedules[0].CreationTimestamp = metav1.NewTime(now.Add(-36 * time.Hour)) }, 5 * 24 * time.Hour, nil, coverage.ReasonStale},
		"all Schedules are new":                      {func(s *fixture) { s.allNew() }, 5 * 24 * time.Hour, nil, coverage.ReasonStale},
		"the more frequent Schedule is paused":       {func(s *fixture) { s.schedules[0].Spec.Paused = true }, 5 * 24 * time.Hour, nil, ""},
		"a backup in progress":                       {func(*fixture) {}, 50 * time.Hour, map[string]time.Duration{"daily": 20 * time.Hour}, ""},
		"runs missed before the backup in progress":  {func(*fixture) {}, 5 * 24 * time.Hour, map[string]time.Duration{"daily": 20 * time.Hour}, coverage.ReasonStale},
		"the same without the backup in progress":    {func(*fixture) {}, 50 * time.Hour, nil, coverage.ReasonStale},
		"a backup in progress of the other Schedule": {func(*fixture) {}, 50 * time.Hour, map[string]time.Duration{"monthly": 20 * time.Hour}, coverage.ReasonStale},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := newFixture()
			s.claim("data")
			s.pod("web", "data", "data")
			monthly := schedule("monthly")
			monthly.Spec.Schedule = "0 0 1 * *"
			s.schedules = append(s.schedules, monthly)
			c.given(s)
			staleness := coverage.NewStaleness(now, 0)
			staleness.InProgress = map[string]time.Time{}
			for name, since := range c.running {
				staleness.InProgress[name] = now.Add(-since)
			}
			if state := s.decide(t)["data"].State(staleness, coverage.Outcome{Success: now.Add(-c.age)}); state.Reason != c.want {
				t.Errorf("got %+v, want reason %q", state, c.want)
			}
		})
	}
}

// TestReasons finds empty and repeated reasons.
func TestReasons(t *testing.T) {
	seen := map[coverage.Reason]bool{}
	for _, reason := range coverage.Reasons() {
		if reason == "" || seen[reason] {
			t.Errorf("reason %q is empty or repeated", reason)
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

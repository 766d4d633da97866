// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package coverage

import (
	"fmt"
	"slices"
	"strings"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/scope"
	"github.com/velero-restic/velero-plugin-for-restic/internal/selection"
	"github.com/velero-restic/velero-plugin-for-restic/internal/volumepolicy"
)

// snapshot returns the candidate for a snapshot of the claim. The zero candidate means that Velero takes none.
func (d *decider) snapshot(claim *corev1.PersistentVolumeClaim, p *Plan) candidate {
	if d.scopeResult(p).Claims[claim.Name] != scope.Included {
		return candidate{}
	}
	s := d.subject(claim, p)
	wanted, byPolicy := s.coreWantsSnapshot()
	if s.native() {
		wanted, byPolicy = s.coreWantsNativeSnapshot()
	}
	if !wanted {
		return candidate{}
	}
	obstacle := s.obstacle()
	switch {
	case obstacle == "" && p.own.Sections().VolumesFiltered:
		return candidate{plan: p, reason: ReasonNoSnapshot, message: fmt.Sprintf("clusterScopedFilterPolicy in the "+
			"resource policies of %s filters PersistentVolumes or snapshot contents, and this program does not "+
			"evaluate "+
			"whether it excludes that of claim %s/%s: annotate the claim if it does not",
			p.title(), claim.Namespace, claim.Name)}
	case obstacle == "":
		return candidate{plan: p, method: MethodSnapshot}
	case byPolicy:
		return candidate{plan: p, reason: ReasonNoSnapshot, message: fmt.Sprintf("the volume policies of %s require a "+
			"snapshot of claim %s/%s, which is not possible: %s", p.title(), claim.Namespace, claim.Name, obstacle)}
	}
	return candidate{}
}

// subject is a claim under a plan.
type subject struct {
	plan *Plan
	// claim is the claim as in the backup: with the plugin's label, if the plugin sets it.
	claim *corev1.PersistentVolumeClaim
	pv    *corev1.PersistentVolume
	// pods are the pods that use the claim, in the backup or not.
	pods []Pod
	// taken is true if restic backs up the claim.
	taken bool
}

func (d *decider) subject(claim *corev1.PersistentVolumeClaim, p *Plan) *subject {
	s := &subject{plan: p, claim: claim, pv: d.pv(claim)}
	labeled := false
	for _, i := range d.users[claim.Name] {
		s.pods = append(s.pods, d.group.Pods[i])
		if d.scopeResult(p).Pods[d.group.Pods[i].Name] != scope.Included {
			continue
		}
		volumes := d.selectVolumes(i, p)
		labeled = labeled || volumes.labels[claim.Name]
		s.taken = s.taken || selection.Takes(volumes.decisions, claim.Name)
	}
	// The plugin may leave an existing label on the claim: while rules are invalid, and while another backup runs.
	if labeled {
		s.claim = selection.Labeled(claim)
	}
	return s
}

// native returns whether a provider's plugin would take the snapshot, and not the CSI plugin.
func (s *subject) native() bool {
	return s.pv != nil && (s.pv.Spec.CSI == nil || !s.plan.server.CSI)
}

// coreWantsSnapshot returns whether Velero's core takes a CSI snapshot of the claim, and whether a volume policy is the
// reason (velero v1.18.3, internal/volumehelper/volume_policy_helper.go, ShouldPerformSnapshot).
func (s *subject) coreWantsSnapshot() (wanted, byPolicy bool) {
	return s.policiesWantSnapshot(s.plan.settings.merged, s.claim)
}

// coreWantsNativeSnapshot is coreWantsSnapshot for a snapshot of the PersistentVolume. Core matches the policies twice:
// without the claim, so that conditions on labels do not match, and then with it for the action skip
// (pkg/backup/item_backupper.go, takePVSnapshot). The plugin excludes volumes from the backup that restic backs up.
func (s *subject) coreWantsNativeSnapshot() (wanted, byPolicy bool) {
	wanted, byPolicy = s.policiesWantSnapshot(s.plan.settings.merged, nil)
	action, found := s.plan.settings.merged.Match(volumepolicy.Volume{PVC: s.claim, PV: s.pv})
	if s.taken || found && action.Type == volumepolicy.ActionSkip {
		return false, false
	}
	return wanted, byPolicy
}

func (s *subject) policiesWantSnapshot(policies *volumepolicy.Policies, claim *corev1.PersistentVolumeClaim) (
	wanted, byPolicy bool,
) {
	if action, found := policies.Match(volumepolicy.Volume{PVC: claim, PV: s.pv}); found {
		isSnapshot := action.Type == volumepolicy.ActionSnapshot
		return isSnapshot, isSnapshot
	}
	if !s.plan.snapshots {
		return false, false
	}
	// Velero takes no snapshot of a volume that a pod, running or not, selects for file-system backup.
	return !slices.ContainsFunc(s.pods, func(pod Pod) bool {
		return slices.ContainsFunc(pod.Spec.Volumes, func(volume corev1.Volume) bool {
			source := volume.PersistentVolumeClaim
			in := selection.Input{Pod: pod.Pod, DefaultVolumes: s.plan.settings.defaultVolumes}
			return source != nil && source.ClaimName == s.claim.Name && selection.CoreAsks(in, volume.Name)
		})
	}), false
}

// obstacle returns why no snapshot of the volume is possible, "" if one is.
func (s *subject) obstacle() string {
	p := s.plan
	switch {
	case s.pv == nil:
		return "it is not bound to a volume"
	case !s.native():
		return s.obstacleCSI()
	case !p.Scope.Volumes():
		return "the backups exclude PersistentVolumes"
	case s.pv.Labels[contract.LabelExcludeFromBackup] == "true":
		return fmt.Sprintf("PersistentVolume %s has label %s=true, so Velero excludes it",
			s.pv.Name, contract.LabelExcludeFromBackup)
	case len(p.providers) == 0 && s.pv.Spec.CSI != nil:
		return "Velero's server runs without the feature EnableCSI, and there is no VolumeSnapshotLocation"
	case len(p.providers) == 0:
		return "it is not a CSI volume, and there is no VolumeSnapshotLocation"
	case !slices.ContainsFunc(p.providers, func(provider string) bool { return canSnapshot(provider, s.pv) }):
		return "no plugin of the VolumeSnapshotLocations is known to support volumes of this type (providers: " +
			strings.Join(p.providers, ", ") + ")"
	}
	return ""
}

// obstacleCSI checks what Velero's CSI action requires (velero v1.18.3, pkg/backup/actions/csi/pvc_action.go, Execute).
func (s *subject) obstacleCSI() string {
	p := s.plan
	if s.claim.Spec.StorageClassName == nil {
		return "the claim has no storage class, which Velero needs to find the VolumeSnapshotClass"
	}
	// The action evaluates the policies itself, without the cluster-wide ones.
	if wanted, _ := s.policiesWantSnapshot(p.own, s.claim); !wanted {
		return "only the cluster-wide volume policies require it, and Velero's CSI plugin does not read these: add " +
			"such a " +
			"policy to the Schedule's own volume policies"
	}
	if p.moveData && (p.dataMover == "" || p.dataMover == "velero") && !p.server.NodeAgent {
		return "Velero moves the snapshot's data with its node-agent, which does not run"
	}
	name := *s.claim.Spec.StorageClassName
	driver, found := p.server.Provisioners[name]
	if !found {
		return fmt.Sprintf("there is no StorageClass %q, which the claim names and which Velero needs to find the "+
			"VolumeSnapshotClass", name)
	}
	return p.obstacleClass(s.claim, driver)
}

// obstacleClass returns why Velero finds no VolumeSnapshotClass for a driver, "" if it finds one. Names in annotations,
// and the drivers of the classes that they name, are case-insensitive; other comparisons are case-sensitive
// (pkg/util/csi/volume_snapshot.go, GetVolumeSnapshotClass).
func (p *Plan) obstacleClass(claim *corev1.PersistentVolumeClaim, driver string) string {
	named := []string{
		claim.Annotations[velerov1.VolumeSnapshotClassDriverPVCAnnotation],
		p.annotations[velerov1.VolumeSnapshotClassDriverBackupAnnotationPrefix+"_"+strings.ToLower(driver)],
	}
	count := 0
	for _, class := range p.server.SnapshotClasses {
		isNamed := slices.ContainsFunc(named, func(name string) bool { return strings.EqualFold(name, class.Name) })
		switch {
		case isNamed && strings.EqualFold(class.Driver, driver), class.Preferred && class.Driver == driver:
			return ""
		case class.Driver == driver:
			count++
		}
	}
	switch count {
	case 1:
		return ""
	case 0:
		return "there is no VolumeSnapshotClass for driver " + driver
	}
	return fmt.Sprintf("driver %s has %d VolumeSnapshotClasses, and none has label %s",
		driver, count, velerov1.VolumeSnapshotClassSelectorLabel)
}

// canSnapshot returns whether the plugin of a provider supports a volume: see GetVolumeID of velero-plugin-for-aws
// v1.14.3 and of the plugins for Google Cloud and Azure. For other providers it returns false, because a false alarm is
// better than a claim that wrongly counts as protected.
func canSnapshot(provider string, pv *corev1.PersistentVolume) bool {
	driver := ""
	if pv.Spec.CSI != nil {
		driver = pv.Spec.CSI.Driver
	}
	switch strings.TrimPrefix(provider, "velero.io/") {
	case "aws":
		return pv.Spec.AWSElasticBlockStore != nil || driver == "ebs.csi.aws.com"
	case "gcp":
		return pv.Spec.GCEPersistentDisk != nil || driver == "pd.csi.storage.gke.io"
	case "azure":
		return pv.Spec.AzureDisk != nil || driver == "disk.csi.azure.com"
	}
	return false
}

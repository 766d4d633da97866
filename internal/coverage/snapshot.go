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

// snapshot says whether Velero makes a snapshot of the claim. The zero candidate means that it does not want to.
func (d *decider) snapshot(claim *corev1.PersistentVolumeClaim, p *Plan) candidate {
	if d.reach(p).Claims[claim.Name] != scope.In {
		return candidate{}
	}
	s := d.subject(claim, p)
	wanted, byPolicy := s.wantedByCore()
	if s.native() {
		wanted, byPolicy = s.wantedNatively()
	}
	if !wanted {
		return candidate{}
	}
	obstacle := s.obstacle()
	switch {
	case obstacle == "" && p.own.Sections().VolumesFiltered:
		return candidate{plan: p, reason: ReasonNoSnapshot, message: fmt.Sprintf("clusterScopedFilterPolicy in the "+
			"resource policies of %s filters PersistentVolumes or contents of snapshots, and whether it leaves that "+
			"of claim %s/%s out is not looked at: declare the claim if it does not",
			p.title(), claim.Namespace, claim.Name)}
	case obstacle == "":
		return candidate{plan: p, method: MethodSnapshot}
	case byPolicy:
		return candidate{plan: p, reason: ReasonNoSnapshot, message: fmt.Sprintf("the volume policies of %s ask for "+
			"a snapshot of claim %s/%s, and none can be made: %s", p.title(), claim.Namespace, claim.Name, obstacle)}
	}
	return candidate{}
}

// subject is a claim of which a snapshot may be made under a plan.
type subject struct {
	plan *Plan
	// claim is as it is in the backup, with the label that the plugin sets, if it does.
	claim *corev1.PersistentVolumeClaim
	pv    *corev1.PersistentVolume
	// pods are those that use the claim, whether they are in the backup or not.
	pods []Pod
	// taken says that the plugin takes the claim.
	taken bool
}

func (d *decider) subject(claim *corev1.PersistentVolumeClaim, p *Plan) *subject {
	s := &subject{plan: p, claim: claim, pv: d.pv(claim)}
	labeled := false
	for _, i := range d.users[claim.Name] {
		s.pods = append(s.pods, d.group.Pods[i])
		if d.reach(p).Pods[d.group.Pods[i].Name] != scope.In {
			continue
		}
		choice := d.choose(i, p)
		labeled = labeled || choice.labels[claim.Name]
		s.taken = s.taken || selection.Takes(choice.decisions, claim.Name)
	}
	// Nobody may count on the plugin taking the label off: it keeps one while rules cannot be read or another backup
	// runs.
	if labeled {
		s.claim = selection.Labeled(claim)
	}
	return s
}

// native says whether a provider's plugin would make the snapshot: of a volume that the CSI plugin does not take.
func (s *subject) native() bool {
	return s.pv != nil && (s.pv.Spec.CSI == nil || !s.plan.server.CSI)
}

// wantedByCore says whether Velero's core wants a CSI snapshot of the claim (velero v1.18.3,
// internal/volumehelper/volume_policy_helper.go, ShouldPerformSnapshot). byPolicy says that a volume policy asks for
// it.
func (s *subject) wantedByCore() (wanted, byPolicy bool) {
	return s.wantedBy(s.plan.choice.merged, s.claim)
}

// wantedNatively is the same for a snapshot of the PersistentVolume, about which core asks the policies twice: without
// its claim, so that no label keeps a volume from it, and then with the claim for those that say skip
// (pkg/backup/item_backupper.go, takePVSnapshot). What the plugin takes has its volume left out of the backup.
func (s *subject) wantedNatively() (wanted, byPolicy bool) {
	wanted, byPolicy = s.wantedBy(s.plan.choice.merged, nil)
	action, found := s.plan.choice.merged.Match(volumepolicy.Volume{PVC: s.claim, PV: s.pv})
	if s.taken || found && action.Type == volumepolicy.ActionSkip {
		return false, false
	}
	return wanted, byPolicy
}

func (s *subject) wantedBy(policies *volumepolicy.Policies, claim *corev1.PersistentVolumeClaim) (
	wanted, byPolicy bool,
) {
	if action, found := policies.Match(volumepolicy.Volume{PVC: claim, PV: s.pv}); found {
		isSnapshot := action.Type == volumepolicy.ActionSnapshot
		return isSnapshot, isSnapshot
	}
	if !s.plan.snapshots {
		return false, false
	}
	// A pod that names the volume for a file-system backup keeps Velero from a snapshot, running or not.
	return !slices.ContainsFunc(s.pods, func(pod Pod) bool {
		return slices.ContainsFunc(pod.Spec.Volumes, func(volume corev1.Volume) bool {
			source := volume.PersistentVolumeClaim
			in := selection.Input{Pod: pod.Pod, DefaultVolumes: s.plan.choice.defaultVolumes}
			return source != nil && source.ClaimName == s.claim.Name && selection.CoreAsks(in, volume.Name)
		})
	}), false
}

// obstacle says why nothing can snapshot the volume, empty if something can.
func (s *subject) obstacle() string {
	p := s.plan
	switch {
	case s.pv == nil:
		return "it is bound to no volume"
	case !s.native():
		return s.obstacleCSI()
	case !p.Scope.Volumes():
		return "the backups leave PersistentVolumes out"
	case s.pv.Labels[contract.LabelExcludeFromBackup] == "true":
		return fmt.Sprintf("PersistentVolume %s has label %s=true, with which Velero leaves it out",
			s.pv.Name, contract.LabelExcludeFromBackup)
	case len(p.providers) == 0 && s.pv.Spec.CSI != nil:
		return "Velero's server does not have the feature EnableCSI, and there is no VolumeSnapshotLocation"
	case len(p.providers) == 0:
		return "it is no CSI volume, and there is no VolumeSnapshotLocation"
	case !slices.ContainsFunc(p.providers, func(provider string) bool { return canSnapshot(provider, s.pv) }):
		return "the plugins of no VolumeSnapshotLocation are known to take volumes of this type (providers: " +
			strings.Join(p.providers, ", ") + ")"
	}
	return ""
}

// obstacleCSI goes through what Velero's CSI action needs (velero v1.18.3, pkg/backup/actions/csi/pvc_action.go,
// Execute).
func (s *subject) obstacleCSI() string {
	p := s.plan
	if s.claim.Spec.StorageClassName == nil {
		return "the claim has no storage class, by which Velero finds the VolumeSnapshotClass"
	}
	// The action asks for itself, without the cluster-wide policies.
	if wanted, _ := s.wantedBy(p.own, s.claim); !wanted {
		return "only the cluster-wide volume policies ask for it, which Velero's CSI plugin does not read: give the " +
			"Schedule policies of its own that do"
	}
	if p.moveData && (p.dataMover == "" || p.dataMover == "velero") && !p.server.NodeAgent {
		return "the snapshot's data is to be moved, and Velero's node-agent does not run"
	}
	name := *s.claim.Spec.StorageClassName
	driver, found := p.server.Provisioners[name]
	if !found {
		return fmt.Sprintf("there is no StorageClass %q, which the claim names and by which Velero finds the "+
			"VolumeSnapshotClass", name)
	}
	return p.obstacleClass(s.claim, driver)
}

// obstacleClass says why Velero finds no VolumeSnapshotClass for a driver, empty if it does. Names in annotations, and
// the drivers of what they name, count in any case; for the rest the driver must be the very same
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

// canSnapshot says whether the plugin of a provider takes a volume, for those that are known: GetVolumeID of
// velero-plugin-for-aws v1.14.3 and of its likes for Google Cloud and Azure. What is not known does not count: better
// somebody looks without need than nobody.
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

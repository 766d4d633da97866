// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package coverage

import (
	"slices"
	"time"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/scope"
	"github.com/velero-restic/velero-plugin-for-restic/internal/volumepolicy"
	"github.com/velero-restic/velero-plugin-for-restic/internal/volumerule"
)

// Plan is what backups of one kind do: those of a Schedule, or one that somebody thinks of.
type Plan struct {
	// Name is that of the Schedule, empty for a backup without one.
	Name string
	// Timetable is when backups are made, nil for a backup without a Schedule.
	Timetable *Timetable
	// Idle says for people why nobody makes such backups; empty when they are made.
	Idle string
	// Scope is what the backups reach; nil if Velero refuses their spec.
	Scope *scope.Scope

	refusal     *refusal  // why Velero refuses the backups, nil if it does not
	created     time.Time // when the Schedule was made
	choice      choice
	snapshots   bool // spec.snapshotVolumes is not false
	moveData    bool
	dataMover   string
	providers   []string // of the VolumeSnapshotLocations that the backups use
	annotations map[string]string
	server      *Server
	policyNames []string
	own         *volumepolicy.Policies // without the cluster-wide ones
}

// choice is what selection depends on beside the pod. Plans with the same choice decide alike.
type choice struct {
	defaultVolumes bool
	merged         *volumepolicy.Policies
	rules          *volumerule.Rules
	rulesInvalid   bool
	claimsExcluded bool
}

// Sources are what plans are made from.
type Sources struct {
	Server *Server
	// Policies returns the volume policies of the ConfigMaps of these names in Velero's namespace, the first one's
	// first; nil without any name. As long as they do not change it returns the same ones for the same names, by which
	// plans that decide alike are known.
	Policies func(names ...string) (*volumepolicy.Policies, error)
	// Rules select volumes that no annotation names; nil when there are none. RulesInvalid says that there are some
	// which cannot be read.
	Rules        *volumerule.Rules
	RulesInvalid bool
	// Labeled are the namespaces with label velero.io/exclude-from-backup=true, sorted.
	Labeled []string
}

// NewPlan returns the plan of a backup with this spec and these annotations.
func NewPlan(spec *velerov1.BackupSpec, annotations map[string]string, from Sources) *Plan {
	isTrue := func(value *bool, otherwise bool) bool {
		if value == nil {
			return otherwise
		}
		return *value
	}
	p := &Plan{
		snapshots: isTrue(spec.SnapshotVolumes, true),
		moveData:  isTrue(spec.SnapshotMoveData, from.Server.MoveData), dataMover: spec.DataMover,
		annotations: annotations, server: from.Server,
	}
	p.choice.defaultVolumes = isTrue(spec.DefaultVolumesToFsBackup, from.Server.DefaultVolumes)
	// The older name of the field still counts when it is true (pkg/controller/backup_controller.go).
	if isTrue(spec.DefaultVolumesToRestic, false) { //nolint:staticcheck // Velero reads it
		p.choice.defaultVolumes = true
	}
	p.choice.rules, p.choice.rulesInvalid = from.Rules, from.RulesInvalid
	causes := []*refusal{p.readPolicies(spec, from)}
	spec = scope.Combine(spec, p.own.Sections().Resources)
	p.choice.claimsExcluded = !scope.Includes(spec, scope.Claims())
	reach, err := scope.New(spec)
	if err != nil {
		causes = append(causes, refuse(ReasonNoSchedule, "%v", err))
	}
	p.Scope = reach
	causes = append(causes, checkLabeled(spec, from.Labeled))
	providers, cause := from.Server.snapshotProviders(spec.VolumeSnapshotLocations)
	p.providers = providers
	causes = append(causes, cause, from.Server.checkStorage(spec.StorageLocation))
	for _, cause := range causes {
		if cause != nil && p.refusal == nil {
			p.refusal = cause
		}
	}
	return p
}

// checkLabeled says why Velero refuses a backup that names a namespace with the label which leaves it out: it takes the
// label for an entry in excludedNamespaces (velero v1.18.3, pkg/controller/backup_controller.go, prepareBackupRequest).
func checkLabeled(spec *velerov1.BackupSpec, labeled []string) *refusal {
	for _, name := range spec.IncludedNamespaces {
		if slices.Contains(labeled, name) {
			return refuse(ReasonNoSchedule, "it names namespace %s, which has label %s=true, and Velero refuses to be "+
				"told both: take the label off, or the name out of spec.template.includedNamespaces", name,
				contract.LabelExcludeFromBackup)
		}
	}
	return nil
}

// SchedulePlan returns the plan of a Schedule's backups.
func SchedulePlan(schedule *velerov1.Schedule, from Sources) *Plan {
	p := NewPlan(&schedule.Spec.Template, schedule.Annotations, from)
	p.Name, p.created = schedule.Name, schedule.CreationTimestamp.Time
	timetable, err := ParseTimetable(schedule.Spec.Schedule)
	p.Timetable = timetable
	switch {
	case schedule.Spec.Paused:
		p.Idle = "it is paused: `velero schedule unpause " + schedule.Name + "`"
	case err != nil:
		p.Idle = err.Error()
	case schedule.Status.Phase == velerov1.SchedulePhaseFailedValidation:
		p.Idle = "its phase is FailedValidation: `velero schedule describe " + schedule.Name + "`"
	}
	return p
}

// readPolicies reads the policies that hold for the backup: its own, or those that admission gives it, then the
// cluster-wide ones. It returns why Velero refuses a backup with these.
func (p *Plan) readPolicies(spec *velerov1.BackupSpec, from Sources) *refusal {
	own := from.Server.AdmittedPolicies
	if spec.ResourcePolicy != nil {
		own = spec.ResourcePolicy.Name
	}
	for _, name := range []string{own, from.Server.GlobalPolicies} {
		if name != "" {
			p.policyNames = append(p.policyNames, name)
		}
	}
	for _, name := range p.policyNames {
		policies, err := from.Policies(name)
		if err != nil {
			return refuse(ReasonPolicyInvalid, "%v", err)
		}
		if unknown := policies.Sections().Unknown; len(unknown) > 0 {
			return refuse(ReasonPolicyInvalid, "ConfigMap %s, which holds its volume policies, has the section %s, "+
				"which Velero 1.18 does not know: correct its name", name, unknown[0])
		}
		if name == own {
			p.own = policies
		}
	}
	sections := p.own.Sections()
	if scope.UsesOldFilters(spec) && (sections.Resources != nil || sections.Filtered) {
		return refuse(ReasonPolicyInvalid, "its spec uses includedResources, excludedResources or "+
			"includeClusterResources, which do not go together with the filters in ConfigMap %s, which holds its "+
			"volume policies: use the lists of cluster-scoped and namespace-scoped resources", own)
	}
	merged, err := from.Policies(p.policyNames...)
	if err != nil {
		return refuse(ReasonPolicyInvalid, "%v", err)
	}
	p.choice.merged = merged
	return nil
}

// UsesPolicies says whether the plan was made from the ConfigMap of that name.
func (p *Plan) UsesPolicies(name string) bool { return slices.Contains(p.policyNames, name) }

// Refused says for people why Velero refuses the backups as things are, empty if it does not.
func (p *Plan) Refused() string {
	if p.refusal == nil {
		return ""
	}
	return p.refusal.text
}

// idle says why the plan is not in effect; empty if it is, or if its claims are to be told of a refusal.
func (p *Plan) idle() string {
	if p.Idle == "" && p.refusal != nil && p.refusal.reason == ReasonNoSchedule {
		return "Velero refuses its backups: " + p.refusal.text
	}
	return p.Idle
}

// Reaches says whether backups would have anything of a namespace, were they made.
func (p *Plan) Reaches(namespace string) bool {
	return p.Scope != nil && p.Scope.Namespace(namespace, nil) == scope.In
}

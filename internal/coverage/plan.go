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

// Plan is what the backups of a Schedule, or of a single spec, include.
type Plan struct {
	// Name is the name of the Schedule; empty without a Schedule.
	Name string
	// Timetable is when backups are created; nil without a Schedule.
	Timetable *Timetable
	// Inactive is a human-readable reason why the Schedule creates no backups; empty if it does.
	Inactive string
	// Scope is what the backups include; nil if Velero rejects their spec.
	Scope *scope.Scope

	refusal     *refusal  // why Velero rejects the backups, nil if it does not
	created     time.Time // when the Schedule was created
	settings    selectionSettings
	snapshots   bool // spec.snapshotVolumes is not false
	moveData    bool
	dataMover   string
	providers   []string // of the VolumeSnapshotLocations of the backups
	annotations map[string]string
	server      *Server
	policyNames []string
	own         *volumepolicy.Policies // without the cluster-wide policies
}

// selectionSettings are the inputs of package selection that depend on the plan. Plans with equal settings select the
// same volumes.
type selectionSettings struct {
	defaultVolumes bool
	merged         *volumepolicy.Policies
	rules          *volumerule.Rules
	rulesInvalid   bool
	claimsExcluded bool
}

// Sources are the inputs of plans.
type Sources struct {
	Server *Server
	// Policies returns the merged volume policies of the ConfigMaps of these names in Velero's namespace; nil without a
	// name. The first ConfigMap takes precedence. For the same names it returns the same pointer until a ConfigMap
	// changes, because plans with equal pointers share their selections.
	Policies func(names ...string) (*volumepolicy.Policies, error)
	// Rules select volumes that no annotation names; nil without rules. RulesInvalid means that rules exist and are
	// invalid.
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
	p.settings.defaultVolumes = isTrue(spec.DefaultVolumesToFsBackup, from.Server.DefaultVolumes)
	// Velero still reads the older name of the field, if it is true (pkg/controller/backup_controller.go).
	if isTrue(spec.DefaultVolumesToRestic, false) { //nolint:staticcheck // Velero reads it
		p.settings.defaultVolumes = true
	}
	p.settings.rules, p.settings.rulesInvalid = from.Rules, from.RulesInvalid
	causes := []*refusal{p.readPolicies(spec, from)}
	spec = scope.Combine(spec, p.own.Sections().Resources)
	p.settings.claimsExcluded = !scope.Includes(spec, scope.Claims())
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

// checkLabeled returns a refusal if the backup names a namespace that the label excludes. Velero treats the label like
// an entry in excludedNamespaces (velero v1.18.3, pkg/controller/backup_controller.go, prepareBackupRequest).
func checkLabeled(spec *velerov1.BackupSpec, labeled []string) *refusal {
	for _, name := range spec.IncludedNamespaces {
		if slices.Contains(labeled, name) {
			return refuse(ReasonNoSchedule, "it includes namespace %s by name, and the namespace has label %s=true, "+
				"which excludes it: remove the label, or the name from spec.template.includedNamespaces", name,
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
		p.Inactive = "it is paused: `velero schedule unpause " + schedule.Name + "`"
	case err != nil:
		p.Inactive = err.Error()
	case schedule.Status.Phase == velerov1.SchedulePhaseFailedValidation:
		p.Inactive = "its phase is FailedValidation: `velero schedule describe " + schedule.Name + "`"
	}
	return p
}

// readPolicies reads the policies of the backup: its own, or those that admission adds, and the cluster-wide ones. It
// returns a refusal if Velero rejects a backup with these policies.
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
			return refuse(ReasonPolicyInvalid, "ConfigMap %s, with its volume policies, has the section %s, which "+
				"Velero 1.18 does not have: correct its name", name, unknown[0])
		}
		if name == own {
			p.own = policies
		}
	}
	sections := p.own.Sections()
	if scope.UsesOldFilters(spec) && (sections.Resources != nil || sections.Filtered) {
		return refuse(ReasonPolicyInvalid, "its spec uses includedResources, excludedResources or "+
			"includeClusterResources, which cannot be combined with the filters in ConfigMap %s, with its volume "+
			"policies: use the filters for cluster-scoped and namespace-scoped resources", own)
	}
	merged, err := from.Policies(p.policyNames...)
	if err != nil {
		return refuse(ReasonPolicyInvalid, "%v", err)
	}
	p.settings.merged = merged
	return nil
}

// UsesPolicies returns whether the plan uses the ConfigMap of that name.
func (p *Plan) UsesPolicies(name string) bool { return slices.Contains(p.policyNames, name) }

// RefusalMessage returns why Velero rejects the backups, "" if it does not.
func (p *Plan) RefusalMessage() string {
	if p.refusal == nil {
		return ""
	}
	return p.refusal.text
}

// inactiveReason returns why the plan has no effect, "" if it has, or if the refusal is a reason of its claims.
func (p *Plan) inactiveReason() string {
	if p.Inactive == "" && p.refusal != nil && p.refusal.reason == ReasonNoSchedule {
		return "Velero rejects its backups: " + p.refusal.text
	}
	return p.Inactive
}

// IncludesNamespace returns whether the backups include objects of a namespace, even if the Schedule is not active.
func (p *Plan) IncludesNamespace(namespace string) bool {
	return p.Scope != nil && p.Scope.Namespace(namespace, nil) == scope.Included
}

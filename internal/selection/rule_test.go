// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package selection

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// Rules of the tests. Gold is the class of all claims.
const (
	includeAll  = "- {name: all, action: include}\n"
	includeGold = "- {name: gold, action: include, storageClasses: [gold]}\n"
	excludeAll  = "- {name: none, action: exclude}\n"
	excludeGold = "- {name: no gold, action: exclude, storageClasses: [gold]}\n"
)

func byRule(reason Reason, severity Severity, names ...string) outcome {
	return outcome{HowRule, reason, severity, names}
}

func leftOut(reason Reason, severity Severity, names ...string) outcome {
	return outcome{"", reason, severity, names}
}

func sorted(names []string) []string {
	slices.Sort(names)
	return names
}

func succeeded(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }

func pending(p *corev1.Pod) { p.Status.Phase = corev1.PodPending }

var ruleCases = map[string]selectionCase{
	"a rule selects a claim":                        {[]change{withRules(includeGold), assumed}, "data", byRule(taken, SeverityInfo), false},
	"a rule selects an emptyDir":                    {[]change{withRules(includeAll)}, "cache", byRule(taken, SeverityInfo), false},
	"what meets no rule is not asked for":           {[]change{withRules(includeGold)}, "cache", leftOut(ReasonNotAsked, SeverityInfo), false},
	"a rule selects the claim of an ephemeral":      {[]change{withRules(includeGold), assumed}, "scratch", byRule(taken, SeverityInfo), false},
	"a rule selects where no policy is":             {[]change{withRules(includeGold), noPolicies}, "data", byRule(taken, SeverityInfo), false},
	"the default takes what meets no rule":          {[]change{withRules(excludeGold), byDefault}, "cache", outcome{HowDefault, taken, SeverityInfo, nil}, false},
	"a rule excludes what the default would take":   {[]change{withRules(excludeGold), byDefault, assumed}, "data", leftOut(ReasonExcluded, SeverityInfo, `"no gold"`, "no snapshot", "action snapshot"), false},
	"a rule excludes an emptyDir":                   {[]change{withRules(excludeAll), byDefault}, "cache", leftOut(ReasonExcluded, SeverityInfo, `"none"`), false},
	"a rule excludes where nothing asks":            {[]change{withRules(excludeAll)}, "data", leftOut(ReasonExcluded, SeverityInfo, `"none"`), false},
	"a person's annotation beats an exclude rule":   {[]change{withRules(excludeAll), named("cache")}, "cache", byName(taken, SeverityInfo), false},
	"by default, too":                               {[]change{withRules(excludeAll), named("cache"), byDefault}, "cache", byName(taken, SeverityInfo), false},
	"a person excludes what a rule includes":        {[]change{withRules(includeAll), excluded("cache")}, "cache", leftOut(ReasonExcluded, SeverityInfo, "backup-volumes-excludes"), false},
	"by default he does so, too":                    {[]change{withRules(includeAll), excluded("cache"), byDefault}, "cache", leftOut(ReasonExcluded, SeverityInfo), false},
	"volumes that a person does not name":           {[]change{withRules(includeAll), named("data")}, "cache", byRule(taken, SeverityInfo), false},
	"what a person names goes by the annotation":    {[]change{withRules(includeAll), named("cache")}, "cache", byName(taken, SeverityInfo), false},
	"a policy's skip beats a rule":                  {[]change{withRules(includeAll), withPolicies("- action: {type: skip}\n")}, "data", byRule(ReasonPolicy, SeverityInfo), false},
	"a policy's snapshot beats a rule":              {[]change{withRules(includeAll), withPolicies(base + "- conditions: {storageClass: [gold]}\n  action: {type: snapshot}\n")}, "data", byRule(ReasonPolicy, SeverityInfo), true},
	"a policy's uploader beats an exclude rule":     {[]change{withRules(excludeAll), withPolicies(entryRestic + "{storageClass: [gold]}\n")}, "data", outcome{HowPolicy, taken, SeverityInfo, nil}, false},
	"a rule cannot ask for a hostPath":              {[]change{withRules(includeAll)}, "logs", leftOut(ReasonNotAsked, SeverityInfo), false},
	"nor for a secret":                              {[]change{withRules(includeAll)}, "keys", leftOut(ReasonNotAsked, SeverityInfo), false},
	"nor for a configMap":                           {[]change{withRules(includeAll)}, "settings", leftOut(ReasonNotAsked, SeverityInfo), false},
	"nor for a projected volume":                    {[]change{withRules(includeAll)}, "all", leftOut(ReasonNotAsked, SeverityInfo), false},
	"nor for a downwardAPI volume":                  {[]change{withRules(includeAll)}, "about", leftOut(ReasonNotAsked, SeverityInfo), false},
	"nor for default-token":                         {[]change{withRules(includeAll), byDefault}, "default-token-x", leftOut(ReasonServiceAccountToken, SeverityInfo), false},
	"a block volume warns":                          {[]change{withRules(includeAll), assumed}, "raw", byRule(ReasonBlockVolume, SeverityWarning), false},
	"an image is no matter":                         {[]change{withRules(includeAll), pod(image)}, "data", byRule(ReasonImageVolume, SeverityInfo), false},
	"an unmounted emptyDir is no matter":            {[]change{withRules(includeAll)}, "unmounted", byRule(ReasonNotMounted, SeverityInfo), false},
	"a done pod's emptyDir is no matter":            {[]change{withRules(includeAll), pod(succeeded)}, "cache", byRule(ReasonPodNotRunning, SeverityInfo), false},
	"a done pod's claim is":                         {[]change{withRules(includeAll), assumed, pod(succeeded)}, "data", byRule(ReasonPodNotRunning, SeverityWarning), false},
	"a waiting pod's claim is":                      {[]change{withRules(includeAll), assumed, pod(pending)}, "data", byRule(ReasonPodNotRunning, SeverityWarning, "while the pod runs"), false},
	"claims that the backup leaves out":             {[]change{withRules(includeAll), claimsExcluded}, "data", byRule(ReasonClaimsExcluded, SeverityInfo), false},
	"an included claim without label, by default":   {[]change{withRules(includeGold), byDefault}, "data", byRule(ReasonNoPolicy, SeverityError, "restic.velero.io/backup=true"), false},
	"rules that cannot be read":                     {[]change{rulesInvalid}, "data", leftOut(ReasonRulesInvalid, SeverityInfo, "ConfigMap"), false},
	"without rules a person's annotation holds":     {[]change{rulesInvalid, named("cache")}, "cache", byName(taken, SeverityInfo), false},
	"without rules the default holds":               {[]change{rulesInvalid, byDefault}, "cache", outcome{HowDefault, taken, SeverityInfo, nil}, false},
	"without rules hostPath is no matter of theirs": {[]change{rulesInvalid}, "logs", leftOut(ReasonNotAsked, SeverityInfo), false},
}

// mistakeCases are about volumes that rules leave out and Velero's core would take.
var mistakeCases = map[string]selectionCase{
	"no policies, without the node-agent": {
		[]change{withRules(excludeGold), byDefault, noPolicies},
		"data",
		leftOut(ReasonNoPolicy, SeverityError, `"no gold"`, "whole pod", "backup-volumes-excludes", basePolicy, "skip"), false,
	},
	"no policies, with it": {
		[]change{withRules(excludeGold), byDefault, noPolicies, nodeAgent},
		"data",
		leftOut(ReasonLeftToVelero, SeverityWarning, `"no gold"`, "backup-volumes-excludes"), true,
	},
	"no policies, and the pod is done": {
		[]change{withRules(excludeAll), byDefault, noPolicies, nodeAgent, pod(succeeded)},
		"data",
		leftOut(ReasonExcluded, SeverityInfo, `"none"`), false,
	},
	"an inline csi volume, which no base policy matches": {
		[]change{withRules("- {name: none, action: exclude, volumeTypes: [csi]}\n"), byDefault}, "inline", leftOut(ReasonNoPolicy, SeverityError), false,
	},
	"an entry for fs-backup goes before rules": {
		[]change{withRules(excludeAll), byDefault, nodeAgent, withPolicies("- action: {type: fs-backup}\n")},
		"cache",
		leftOut(ReasonExcluded, SeverityInfo), true,
	},
	"a person has excluded, and core takes all by default": {
		[]change{withRules(excludeAll), byDefault, noPolicies, excluded("data")},
		"data",
		leftOut(ReasonExcluded, SeverityInfo, "backup-volumes-excludes"), false,
	},
}

// leaderCases are about the annotation as the leader writes it.
var leaderCases = map[string]selectionCase{
	"what the leader has written is a rule's":          {[]change{withRules(includeAll), named("cache"), byLeader}, "cache", byRule(taken, SeverityInfo), false},
	"the rules that it was written for are gone":       {[]change{named("cache"), byLeader}, "cache", byRule(taken, SeverityInfo), false},
	"the rules that it was written for are unreadable": {[]change{named("cache"), byLeader, rulesInvalid}, "cache", byRule(taken, SeverityInfo), false},
	"a rule that excludes goes before what it wrote":   {[]change{withRules(excludeAll), named("cache"), byLeader}, "cache", leftOut(ReasonExcluded, SeverityInfo), false},
	"a person's exclusion goes before what it wrote":   {[]change{withRules(includeAll), named("cache"), byLeader, excluded("cache")}, "cache", leftOut(ReasonExcluded, SeverityInfo), false},
	"a claim so is kept from core":                     {[]change{withRules(excludeAll), named("data"), byLeader, assumed}, "data", leftOut(ReasonExcluded, SeverityInfo, "no snapshot"), false},
	"where no policy helps, the pod is lost": {
		[]change{withRules(excludeAll), named("data"), byLeader, noPolicies},
		"data",
		leftOut(ReasonNoPolicy, SeverityError, "backup-volumes", "take the name out"), false,
	},
	"where the node-agent takes it, that is said": {
		[]change{withRules(includeAll), named("data"), byLeader, excluded("data"), noPolicies, nodeAgent},
		"data",
		leftOut(ReasonLeftToVelero, SeverityWarning, "take the name out"), true,
	},
	"a person has changed it": {
		[]change{withRules(excludeAll), named("cache"), byLeader, named("cache,data")}, "cache", byName(taken, SeverityInfo), false,
	},
}

func TestDecideByRules(t *testing.T) {
	for _, cases := range []map[string]selectionCase{ruleCases, mistakeCases, leaderCases} {
		for sentence, tc := range cases {
			t.Run(sentence, func(t *testing.T) { checkCase(t, tc) })
		}
	}
}

func TestDecideNamesTheRule(t *testing.T) {
	for sentence, tc := range map[string]struct {
		changes []change
		want    map[string]string
	}{
		"each by its own":          {[]change{withRules(includeGold + excludeAll)}, map[string]string{"data": "gold", "cache": "none", "logs": ""}},
		"not what a person names":  {[]change{withRules(includeAll), named("data")}, map[string]string{"data": "", "cache": "all"}},
		"not what the default has": {[]change{withRules(includeGold), byDefault}, map[string]string{"cache": "", "data": "gold"}},
		"not what a policy has":    {[]change{withRules(includeAll), withPolicies(entryRestic + "{storageClass: [gold]}\n")}, map[string]string{"data": "", "cache": "all"}},
	} {
		t.Run(sentence, func(t *testing.T) {
			for _, d := range Decide(inputWith(t, tc.changes)) {
				if want, tested := tc.want[d.Volume]; tested && d.Rule != want {
					t.Errorf("%s goes by rule %q, want %q", d.Volume, d.Rule, want)
				}
			}
		})
	}
}

func TestLabelsForRules(t *testing.T) {
	able := []string{"data-db-0", "db-0-scratch"}
	for sentence, tc := range map[string]struct {
		changes        []change
		label, release []string
	}{
		"claims that a rule includes":                     {[]change{withRules(includeGold)}, able, nil},
		"not those that restic cannot take":               {[]change{withRules(includeGold), label("raw-db-0")}, able, []string{"raw-db-0"}},
		"but that core would fail with":                   {[]change{withRules(includeGold), byDefault}, []string{"data-db-0", "db-0-scratch", "disk-db-0", "raw-db-0"}, nil},
		"nor those of a pod that is done":                 {[]change{withRules(includeGold), label("data-db-0"), pod(func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded })}, nil, []string{"data-db-0"}},
		"not what a person excludes":                      {[]change{withRules(includeGold), excluded("disk,raw,scratch")}, []string{"data-db-0"}, nil},
		"a rule that excludes needs none, if core does":   {[]change{withRules(excludeGold), label("data-db-0")}, nil, []string{"data-db-0"}},
		"a rule that excludes what core takes":            {[]change{withRules(excludeGold), byDefault}, []string{"data-db-0", "disk-db-0", "raw-db-0"}, nil},
		"what a person excludes needs none":               {[]change{withRules(excludeGold), byDefault, excluded("data,disk,raw")}, nil, nil},
		"a claim that the leader has named in vain":       {[]change{withRules(excludeGold), named("data"), byLeader}, []string{"data-db-0"}, nil},
		"and one that a person then excluded":             {[]change{withRules(includeGold), named("data"), byLeader, excluded("data,disk,raw,scratch")}, []string{"data-db-0"}, nil},
		"a policy's skip stands":                          {[]change{withRules(includeGold), withPolicies(base + "- action: {type: skip}\n")}, nil, nil},
		"fs-backup goes before a rule that excludes":      {[]change{withRules(excludeGold), byDefault, withPolicies(base + "- action: {type: fs-backup}\n")}, nil, nil},
		"a rule that includes goes before fs-backup":      {[]change{withRules(includeGold), withPolicies(base + "- action: {type: fs-backup}\n")}, able, nil},
		"unreadable rules keep labels on":                 {[]change{rulesInvalid, label("data-db-0")}, nil, nil},
		"unreadable rules do not where a person excludes": {[]change{rulesInvalid, label("data-db-0"), excluded("data")}, nil, []string{"data-db-0"}},
		"unreadable rules do not where a policy says so":  {[]change{rulesInvalid, label("data-db-0"), withPolicies(base + "- action: {type: skip}\n")}, nil, []string{"data-db-0"}},
	} {
		t.Run(sentence, func(t *testing.T) {
			in := inputWith(t, tc.changes)
			if diff := cmp.Diff(tc.label, sorted(claimNames(ClaimsToLabel(in)))); diff != "" {
				t.Errorf("to label: %s", diff)
			}
			if diff := cmp.Diff(tc.release, claimNames(ClaimsToRelease(in))); diff != "" {
				t.Errorf("to release: %s", diff)
			}
		})
	}
}

func TestDependsOnRules(t *testing.T) {
	only := func(name string) change {
		return pod(func(p *corev1.Pod) {
			for _, volume := range p.Spec.Volumes {
				if volume.Name == name {
					p.Spec.Volumes = []corev1.Volume{volume}
					return
				}
			}
		})
	}
	for sentence, tc := range map[string]struct {
		changes []change
		want    bool
	}{
		"a claim":                         {[]change{only("data")}, true},
		"an emptyDir, by default":         {[]change{only("cache"), byDefault}, true},
		"a hostPath":                      {[]change{only("logs")}, false},
		"a secret":                        {[]change{only("keys")}, false},
		"what a person names":             {[]change{only("data"), named("data")}, false},
		"what the leader names":           {[]change{only("data"), named("data"), byLeader}, true},
		"what a person excludes":          {[]change{only("data"), excluded("data")}, false},
		"what a policy asks for":          {[]change{only("data"), withPolicies(entryRestic + "{storageClass: [gold]}\n")}, false},
		"what a policy skips":             {[]change{only("data"), withPolicies("- action: {type: skip}\n")}, false},
		"the claim of a pod that is done": {[]change{only("data"), pod(succeeded)}, true},
		"the claim of a pod that waits":   {[]change{only("data"), pod(pending)}, true},
	} {
		t.Run(sentence, func(t *testing.T) {
			if got := DependsOnRules(inputWith(t, tc.changes)); got != tc.want {
				t.Errorf("it does: %v, want %v", got, tc.want)
			}
		})
	}
}

// TestAnEmptyAnnotationIsAPersons: the leader never writes one.
func TestAnEmptyAnnotationIsAPersons(t *testing.T) {
	in := inputWith(t, []change{named("")})
	if in.Pod.Annotations[contract.AnnotationVolumesByRule] != "" {
		t.Fatal("the fixture has the leader's annotation")
	}
	decisions := Decide(in)
	if last := decisions[len(decisions)-1]; last.Reason != ReasonEmptyAnnotation {
		t.Errorf("the last decision is %+v", last)
	}
}

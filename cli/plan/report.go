// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/velero-restic/velero-plugin-for-restic/cli/command"
	"github.com/velero-restic/velero-plugin-for-restic/internal/coverage"
	"github.com/velero-restic/velero-plugin-for-restic/internal/inventory"
	"github.com/velero-restic/velero-plugin-for-restic/internal/scope"
	"github.com/velero-restic/velero-plugin-for-restic/internal/selection"
)

// Report is the answer: what a backup would do with the volumes of pods.
type Report struct {
	Pods    []Pod   `json:"pods"`
	Summary Summary `json:"summary"`
}

// Pod is what a backup would do with one pod.
type Pod struct {
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	// InBackup says that the pod is in the backup. Outside is why not, in one word, and Message says it for people.
	InBackup bool      `json:"inBackup"`
	Outside  scope.Why `json:"outside,omitempty"`
	Message  string    `json:"message,omitempty"`
	Volumes  []Volume  `json:"volumes"`
}

// Volume is what a backup would do with one volume.
type Volume struct {
	Volume string `json:"volume"`
	// Claim is the name of the claim behind it, if there is one.
	Claim string `json:"claim,omitempty"`
	// TakenBy is what takes its data: restic, snapshot or node-agent; empty if nothing does.
	TakenBy coverage.Method `json:"takenBy,omitempty"`
	// AskedBy is by what restic was asked for it: policy, annotation, rule or default; and Rule the name of the rule.
	AskedBy selection.How `json:"askedBy,omitempty"`
	Rule    string        `json:"rule,omitempty"`
	// Reason is why restic does not take it, in one word, and Message says it for people.
	Reason  selection.Reason `json:"reason,omitempty"`
	Message string           `json:"message,omitempty"`
	// Refused says that somebody asked for its backup, and that nothing takes it.
	Refused bool `json:"refused,omitempty"`
}

// Summary counts the volumes of a report.
type Summary struct {
	// Volumes is how many there are, Restic how many of them restic takes, Others how many something else takes.
	Volumes int `json:"volumes"`
	Restic  int `json:"restic"`
	Others  int `json:"others"`
	// Refused is how many somebody asked for that nothing takes.
	Refused int `json:"refused"`
}

// newReport makes the answer. What Kubernetes itself adds to pods is left out, unless all is wanted.
func newReport(pods []inventory.PodPlan, all bool) Report {
	report := Report{Pods: []Pod{}}
	some := slices.ContainsFunc(pods, func(plan inventory.PodPlan) bool { return plan.InBackup })
	for _, plan := range pods {
		pod := Pod{
			Namespace: plan.Namespace, Pod: plan.Pod, InBackup: plan.InBackup, Outside: plan.Outside,
			Message: plan.Message, Volumes: []Volume{},
		}
		for _, decision := range plan.Volumes {
			if all || !addedByKubernetes(decision) {
				volume := volumeOf(decision)
				volume.Refused = decision.Method == "" && refused(decision, plan, some)
				pod.Volumes = append(pod.Volumes, volume)
				report.Summary.count(volume)
			}
		}
		report.Pods = append(report.Pods, pod)
	}
	return report
}

// addedByKubernetes tells the volume with a pod's token (Kubernetes: ServiceAccount admission, kube-api-access-…).
func addedByKubernetes(v inventory.VolumePlan) bool {
	return !v.Asked && strings.HasPrefix(v.Volume, "kube-api-access-")
}

func volumeOf(v inventory.VolumePlan) Volume {
	volume := Volume{
		Volume: v.Volume, TakenBy: v.Method, AskedBy: v.How, Rule: v.Rule, Reason: v.Reason, Message: v.Message,
	}
	if v.Claim != nil {
		volume.Claim = v.Claim.Name
	}
	if volume.Message == "" && v.Method != coverage.MethodRestic {
		volume.Message = v.Why
	}
	return volume
}

// refused says whether somebody asked for a volume that nothing takes; some says whether the backup has any of the pods
// that the question is about.
func refused(v inventory.VolumePlan, pod inventory.PodPlan, some bool) bool {
	matters := v.Severity() != selection.SeverityInfo
	if pod.InBackup {
		return matters
	}
	if !v.Asked || optedOut(pod) {
		return false
	}
	// A backup's own default and policies ask for what it has. They ask for pods that it does not have where it has
	// none of those that were named: then another backup was meant.
	if some && v.How != selection.HowAnnotation && v.How != selection.HowRule {
		return false
	}
	return v.Take || matters
}

// optedOut says that nobody can expect a pod in the backup that is not there: somebody has marked it, or its namespace,
// to be left out, or it is over.
func optedOut(pod inventory.PodPlan) bool {
	switch pod.Outside {
	case scope.WhyLabel, scope.WhyNamespaceLabel, scope.WhyDeleted:
		return true
	case scope.In, scope.WhyNamespace, scope.WhyResource, scope.WhySelector:
	}
	return pod.Ended
}

func (s *Summary) count(v Volume) {
	s.Volumes++
	switch v.TakenBy {
	case coverage.MethodRestic:
		s.Restic++
	case coverage.MethodSnapshot, coverage.MethodNodeAgent:
		s.Others++
	}
	if v.Refused {
		s.Refused++
	}
}

// String says it in one line.
func (s Summary) String() string {
	text := fmt.Sprintf("restic takes %d of %d volumes", s.Restic, s.Volumes)
	if s.Others > 0 {
		text += fmt.Sprintf(", something else %d", s.Others)
	}
	if s.Refused > 0 {
		text += fmt.Sprintf("; %d asked for and not taken", s.Refused)
	}
	return text
}

// table shows a report.
func (r Report) table(wide bool) *command.Table {
	t := &command.Table{Header: []string{"pod", "volume", "taken by", "asked by", "reason", "message"}}
	if wide {
		t.Header = []string{"pod", "volume", "claim", "taken by", "asked by", "reason", "message"}
	}
	for _, pod := range r.Pods {
		shown := pod.Volumes
		if !pod.InBackup && !wide {
			shown = slices.DeleteFunc(slices.Clone(shown), func(v Volume) bool { return !v.Refused })
		}
		if len(shown) == 0 {
			shown = []Volume{{}}
		}
		for _, volume := range shown {
			t.Add(pod.cells(volume, wide)...)
		}
	}
	return t
}

func (p Pod) cells(v Volume, wide bool) []command.Cell {
	cells := []command.Cell{command.Text(p.Pod), command.Text(v.Volume)}
	if wide {
		cells = append(cells, command.Text(v.Claim))
	}
	taken, reason, message := takenBy(v), string(v.Reason), v.Message
	if !p.InBackup {
		reason, message = "NotInBackup", p.Message
	}
	if !p.InBackup && v.Volume == "" {
		taken = command.Styled(command.Faint, "nothing")
	}
	return append(cells, taken, command.Text(askedBy(v)), command.Text(reason), command.Text(message))
}

func takenBy(v Volume) command.Cell {
	switch {
	case v.Volume == "" && v.TakenBy == "" && v.Reason == "":
		return command.Text("")
	case v.Refused:
		return command.Styled(command.Poor, "nothing")
	case v.TakenBy == "":
		return command.Styled(command.Faint, "nothing")
	case v.TakenBy == coverage.MethodRestic:
		return command.Styled(command.Good, string(v.TakenBy))
	}
	return command.Text(string(v.TakenBy))
}

func askedBy(v Volume) string {
	if v.Rule != "" {
		return string(v.AskedBy) + " " + v.Rule
	}
	return string(v.AskedBy)
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package plan

import (
	"fmt"
	"strings"

	"github.com/velero-restic/velero-plugin-for-restic/cli/command"
	"github.com/velero-restic/velero-plugin-for-restic/internal/coverage"
	"github.com/velero-restic/velero-plugin-for-restic/internal/inventory"
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
	// InBackup says that the pod is in the backup; Message says why not.
	InBackup bool     `json:"inBackup"`
	Message  string   `json:"message,omitempty"`
	Volumes  []Volume `json:"volumes"`
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
	for _, plan := range pods {
		pod := Pod{
			Namespace: plan.Namespace, Pod: plan.Pod, InBackup: plan.InBackup, Message: plan.Message,
			Volumes: []Volume{},
		}
		for _, decision := range plan.Volumes {
			if all || !addedByKubernetes(decision) {
				volume := volumeOf(decision, plan.InBackup)
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

func volumeOf(v inventory.VolumePlan, inBackup bool) Volume {
	volume := Volume{
		Volume: v.Volume, TakenBy: v.Method, AskedBy: v.How, Rule: v.Rule, Reason: v.Reason, Message: v.Message,
	}
	if v.Claim != nil {
		volume.Claim = v.Claim.Name
	}
	if !inBackup {
		volume.TakenBy = ""
		return volume
	}
	if volume.Message == "" && v.Method != coverage.MethodRestic {
		volume.Message = v.Why
	}
	volume.Refused = v.Method == "" && v.Severity() != selection.SeverityInfo
	return volume
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
		if len(pod.Volumes) == 0 || !pod.InBackup && !wide {
			t.Add(pod.cells(Volume{}, wide)...)
			continue
		}
		for _, volume := range pod.Volumes {
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
		taken, reason, message = command.Styled(command.Faint, "nothing"), "NotInBackup", p.Message
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

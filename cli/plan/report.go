// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package plan

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/velero-restic/velero-plugin-for-restic/cli/command"
	"github.com/velero-restic/velero-plugin-for-restic/internal/coverage"
	"github.com/velero-restic/velero-plugin-for-restic/internal/scope"
	"github.com/velero-restic/velero-plugin-for-restic/internal/selection"
)

// Report is what a backup would include of the volumes of pods. Its JSON names are a contract with users' scripts, so
// it is not the type that package coverage computes.
type Report struct {
	Pods    []Pod   `json:"pods"`
	Summary Summary `json:"summary"`
}

// Pod is what a backup would include of one pod.
type Pod struct {
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	// InBackup is true if the backup includes the pod. If not, Excluded is the machine-readable reason, and Message
	// explains it.
	InBackup bool         `json:"inBackup"`
	Excluded scope.Reason `json:"outside,omitempty"`
	Message  string       `json:"message,omitempty"`
	Volumes  []Volume     `json:"volumes"`
}

// Volume is how a backup would back up one volume.
type Volume struct {
	Volume string `json:"volume"`
	// Claim is the name of the PersistentVolumeClaim that the volume uses, if any.
	Claim string `json:"claim,omitempty"`
	// Method is how the data would be backed up: restic, snapshot or node-agent; empty if it would not be.
	Method coverage.Method `json:"takenBy,omitempty"`
	// SelectedBy is what selected the volume for restic: policy, annotation, rule or default. Rule is the rule's name.
	SelectedBy selection.How `json:"askedBy,omitempty"`
	Rule       string        `json:"rule,omitempty"`
	// Reason is the machine-readable reason why restic does not back up the volume, and Message explains it.
	Reason  selection.Reason `json:"reason,omitempty"`
	Message string           `json:"message,omitempty"`
	// Missed is true if the volume was selected, and nothing would back it up.
	Missed bool `json:"refused,omitempty"`
}

// Summary counts the volumes of a report.
type Summary struct {
	// Volumes is the number of volumes, Restic the number that restic would back up, and Others the number that a
	// snapshot or node-agent would back up.
	Volumes int `json:"volumes"`
	Restic  int `json:"restic"`
	Others  int `json:"others"`
	// Missed is the number of volumes that were selected and that nothing would back up.
	Missed int `json:"refused"`
}

// newReport builds the report. Without all, it omits volumes that Kubernetes itself adds to pods.
func newReport(previews []coverage.Preview, all bool) Report {
	report := Report{Pods: []Pod{}}
	anyIncluded := slices.ContainsFunc(previews, included)
	for _, preview := range previews {
		pod := Pod{
			Namespace: preview.Pod.Namespace, Pod: preview.Pod.Name, InBackup: included(preview),
			Excluded: preview.Excluded, Message: preview.Message, Volumes: []Volume{},
		}
		for _, decision := range preview.Volumes {
			if all || !addedByKubernetes(decision) {
				volume := volumeOf(decision)
				volume.Missed = decision.Method == "" && missed(decision, preview, anyIncluded)
				pod.Volumes = append(pod.Volumes, volume)
				report.Summary.count(volume)
			}
		}
		report.Pods = append(report.Pods, pod)
	}
	return report
}

// included returns whether the pod is in the backup.
func included(preview coverage.Preview) bool { return preview.Excluded == scope.Included }

// addedByKubernetes returns whether the volume holds the pod's token (Kubernetes: ServiceAccount admission).
func addedByKubernetes(v coverage.VolumePreview) bool {
	return !v.Asked && strings.HasPrefix(v.Volume, "kube-api-access-")
}

func volumeOf(v coverage.VolumePreview) Volume {
	volume := Volume{
		Volume: v.Volume, Method: v.Method, SelectedBy: v.How, Rule: v.Rule, Reason: v.Reason, Message: v.Message,
	}
	if v.Claim != nil {
		volume.Claim = v.Claim.Name
	}
	if volume.Message == "" && v.Method != coverage.MethodRestic {
		volume.Message = v.NotTaken
	}
	return volume
}

// missed returns whether a volume was selected and nothing backs it up, so that the user should know. anyIncluded is
// true if the backup includes at least one of the pods.
func missed(v coverage.VolumePreview, preview coverage.Preview, anyIncluded bool) bool {
	matters := v.Severity() != selection.SeverityInfo
	if included(preview) {
		return matters
	}
	if !v.Asked || optedOut(preview) {
		return false
	}
	// The backup's default and its policies select volumes of any pod, so a pod outside the backup is normal. If the
	// backup includes none of the requested pods, the request probably has the wrong filters.
	if anyIncluded && v.How != selection.HowAnnotation && v.How != selection.HowRule {
		return false
	}
	return v.Take || matters
}

// optedOut returns whether a pod is meant to be outside the backup: a label excludes it, or it has ended.
func optedOut(preview coverage.Preview) bool {
	switch preview.Excluded {
	case scope.ReasonLabel, scope.ReasonNamespaceLabel, scope.ReasonDeleted:
		return true
	case scope.Included, scope.ReasonNamespace, scope.ReasonResource, scope.ReasonSelector:
	}
	return preview.Pod.Status.Phase == corev1.PodSucceeded || preview.Pod.Status.Phase == corev1.PodFailed
}

func (s *Summary) count(v Volume) {
	s.Volumes++
	switch v.Method {
	case coverage.MethodRestic:
		s.Restic++
	case coverage.MethodSnapshot, coverage.MethodNodeAgent:
		s.Others++
	}
	if v.Missed {
		s.Missed++
	}
}

// String returns the summary as one line.
func (s Summary) String() string {
	text := fmt.Sprintf("restic backs up %d of %d volumes", s.Restic, s.Volumes)
	if s.Others > 0 {
		text += fmt.Sprintf(", other methods %d", s.Others)
	}
	if s.Missed > 0 {
		text += fmt.Sprintf("; %d selected and not backed up", s.Missed)
	}
	return text
}

// table returns the report as a table. A wide one has all columns, and all volumes of excluded pods.
func (r Report) table(wide bool) *command.Table {
	t := &command.Table{Header: []string{"pod", "volume", "backed up by", "selected by", "reason", "message"}}
	if wide {
		t.Header = []string{"pod", "volume", "claim", "backed up by", "selected by", "reason", "message"}
	}
	for _, pod := range r.Pods {
		shown := pod.Volumes
		if !pod.InBackup && !wide {
			shown = slices.DeleteFunc(slices.Clone(shown), func(v Volume) bool { return !v.Missed })
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
	method, reason, message := methodCell(v), string(v.Reason), v.Message
	if !p.InBackup {
		reason, message = "NotInBackup", p.Message
	}
	if !p.InBackup && v.Volume == "" {
		method = command.Styled(command.Dim, "nothing")
	}
	return append(cells, method, command.Text(selectedBy(v)), command.Text(reason), command.Text(message))
}

func methodCell(v Volume) command.Cell {
	switch {
	case v.Volume == "" && v.Method == "" && v.Reason == "":
		return command.Text("")
	case v.Missed:
		return command.Styled(command.Bad, "nothing")
	case v.Method == "":
		return command.Styled(command.Dim, "nothing")
	case v.Method == coverage.MethodRestic:
		return command.Styled(command.Good, string(v.Method))
	}
	return command.Text(string(v.Method))
}

func selectedBy(v Volume) string {
	if v.Rule != "" {
		return string(v.SelectedBy) + " " + v.Rule
	}
	return string(v.SelectedBy)
}

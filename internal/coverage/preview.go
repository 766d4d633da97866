// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package coverage

import (
	"fmt"

	"github.com/velero-restic/velero-plugin-for-restic/internal/scope"
	"github.com/velero-restic/velero-plugin-for-restic/internal/selection"
)

// Preview is what a backup would include of one pod.
type Preview struct {
	Pod Pod
	// Excluded is why the backup does not include the pod, and Message explains it; both are empty if it does.
	Excluded scope.Reason
	Message  string
	// Volumes are the decisions about its volumes, in the order of selection.Decide, also if the pod is excluded.
	Volumes []VolumePreview
}

// VolumePreview is how a backup would back up one volume.
type VolumePreview struct {
	selection.Decision
	// Method is how the data would be backed up; empty if it would not be, and NotTaken explains why.
	Method   Method
	NotTaken string
}

// PreviewBackup returns what a backup of this plan would include of each pod of the group, in the group's order. It
// returns an error if Velero rejects the backup. A Schedule that is not active, such as a paused one, is no error.
func PreviewBackup(g Group, p *Plan) ([]Preview, error) {
	if refusal := p.RefusalMessage(); refusal != "" {
		return nil, fmt.Errorf("previewing a backup: Velero rejects it: %s", refusal)
	}
	if filter := p.filterMessage(g.Namespace); filter != "" {
		return nil, fmt.Errorf("previewing a backup: %s", filter)
	}
	d := newDecider(g)
	previews := make([]Preview, 0, len(g.Pods))
	for i := range g.Pods {
		previews = append(previews, d.preview(i, p))
	}
	return previews, nil
}

func (d *decider) preview(i int, p *Plan) Preview {
	pod := d.group.Pods[i]
	reason := d.scopeResult(p).Pods[pod.Name]
	preview := Preview{Pod: pod, Excluded: reason, Message: p.podMessage(pod, reason)}
	volumes := d.selectVolumes(i, p)
	for _, decision := range volumes.decisions {
		v := VolumePreview{Decision: decision, NotTaken: decision.Message}
		switch {
		case reason != scope.Included:
			v.NotTaken = preview.Message
		case volumes.blocking != nil:
			v.NotTaken = volumes.blocking.Message
		case decision.Take:
			v.Method, v.NotTaken = MethodRestic, ""
		case d.byNodeAgent(pod, decision, p):
			v.Method, v.NotTaken = MethodNodeAgent, ""
		}
		if decision.Claim != nil && v.Method == "" {
			if snapshot := d.snapshot(decision.Claim, p); snapshot.protected() {
				v.Method, v.NotTaken = MethodSnapshot, ""
			}
		}
		preview.Volumes = append(preview.Volumes, v)
	}
	return preview
}

// podMessage returns why a pod is not in the backup, "" if it is.
func (p *Plan) podMessage(pod Pod, reason scope.Reason) string {
	name := pod.Namespace + "/" + pod.Name
	switch reason {
	case scope.Included:
		return ""
	case scope.ReasonNamespace:
		return fmt.Sprintf("pod %s is not in %s: its namespace is not included, or is excluded", name, p.title())
	case scope.ReasonNamespaceLabel:
		return fmt.Sprintf("pod %s is not in %s: its namespace has label velero.io/exclude-from-backup=true",
			name, p.title())
	case scope.ReasonResource:
		return fmt.Sprintf("pod %s is not in %s: pods are not included, or are excluded", name, p.title())
	case scope.ReasonLabel:
		return fmt.Sprintf("pod %s is not in %s: it has label velero.io/exclude-from-backup=true", name, p.title())
	case scope.ReasonSelector:
		return fmt.Sprintf("pod %s is not in %s: the label selector matches neither it nor a claim that it mounts",
			name, p.title())
	case scope.ReasonDeleted:
		return fmt.Sprintf("pod %s is not in %s: it is being deleted", name, p.title())
	}
	return string(reason)
}

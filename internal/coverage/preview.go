// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package coverage

import (
	"fmt"

	"github.com/velero-restic/velero-plugin-for-restic/internal/scope"
	"github.com/velero-restic/velero-plugin-for-restic/internal/selection"
)

// Preview is what a backup would do with one pod.
type Preview struct {
	Pod string
	// Outside is why the pod is not in the backup, and Message says it for people; empty when it is.
	Outside scope.Why
	Message string
	// Volumes are the decisions about its volumes, in the order of selection.Decide.
	Volumes []VolumePreview
}

// VolumePreview is what a backup would do with one volume.
type VolumePreview struct {
	selection.Decision
	// Method is what takes the data; empty if nothing does, and then Why says so for people.
	Method Method
	Why    string
}

// Look returns what a backup of this plan would do with each pod of the group, in its order. It fails for a backup that
// Velero refuses. That nobody makes such backups, as those of a paused Schedule, does not matter: somebody may.
func Look(g Group, p *Plan) ([]Preview, error) {
	if why := p.Refused(); why != "" {
		return nil, fmt.Errorf("previewing a backup: Velero refuses it: %s", why)
	}
	if filter := p.filter(g.Namespace); filter != "" {
		return nil, fmt.Errorf("previewing a backup: %s", filter)
	}
	d := newDecider(g)
	previews := make([]Preview, 0, len(g.Pods))
	for i := range g.Pods {
		previews = append(previews, d.look(i, p))
	}
	return previews, nil
}

func (d *decider) look(i int, p *Plan) Preview {
	pod := d.group.Pods[i]
	why := d.reach(p).Pods[pod.Name]
	preview := Preview{Pod: pod.Name, Outside: why, Message: p.reason(pod, why)}
	choice := d.choose(i, p)
	for _, decision := range choice.decisions {
		v := VolumePreview{Decision: decision, Why: decision.Message}
		switch {
		case preview.Outside != scope.In:
			v.Why = preview.Message
		case choice.cost != nil:
			v.Why = choice.cost.Message
		case decision.Take:
			v.Method, v.Why = MethodRestic, ""
		case d.byNodeAgent(pod, decision, p):
			v.Method, v.Why = MethodNodeAgent, ""
		}
		if decision.Claim != nil && v.Method == "" {
			if snapshot := d.snapshot(decision.Claim, p); snapshot.protected() {
				v.Method, v.Why = MethodSnapshot, ""
			}
		}
		preview.Volumes = append(preview.Volumes, v)
	}
	return preview
}

// reason says why a pod is not in the backup, empty if it is.
func (p *Plan) reason(pod Pod, why scope.Why) string {
	name := pod.Namespace + "/" + pod.Name
	switch why {
	case scope.In:
		return ""
	case scope.WhyNamespace:
		return fmt.Sprintf("pod %s is not in %s: its namespace is not included, or is excluded", name, p.title())
	case scope.WhyNamespaceLabel:
		return fmt.Sprintf("pod %s is not in %s: its namespace has label velero.io/exclude-from-backup=true",
			name, p.title())
	case scope.WhyResource:
		return fmt.Sprintf("pod %s is not in %s: pods are not included, or are excluded", name, p.title())
	case scope.WhyLabel:
		return fmt.Sprintf("pod %s is not in %s: it has label velero.io/exclude-from-backup=true", name, p.title())
	case scope.WhySelector:
		return fmt.Sprintf("pod %s is not in %s: the label selector matches neither it nor a claim that brings it",
			name, p.title())
	case scope.WhyDeleted:
		return fmt.Sprintf("pod %s is not in %s: it is being deleted", name, p.title())
	}
	return string(why)
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package inventory

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/coverage"
	"github.com/velero-restic/velero-plugin-for-restic/internal/scope"
	"github.com/velero-restic/velero-plugin-for-restic/internal/selection"
)

// PlanRequest asks what a backup would do.
type PlanRequest struct {
	// Namespace is that of the pods.
	Namespace string
	// Pod is the name of one of them; empty for all.
	Pod string
	// Schedule is the name of a Schedule in Velero's namespace, whose next backup is meant; then Spec is not looked at.
	Schedule string
	// Spec is that of the backup. What it leaves open, Velero's server and the cluster's admission policy fill in.
	Spec velerov1.BackupSpec
}

// PodPlan is what a backup would do with one pod.
type PodPlan struct {
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	// InBackup says that the pod is in the backup. Outside is why not, in one word, and Message for people.
	InBackup bool      `json:"inBackup"`
	Outside  scope.Why `json:"outside,omitempty"`
	Message  string    `json:"message,omitempty"`
	// Ended says that the pod has run to its end.
	Ended bool `json:"ended,omitempty"`
	// Volumes are the decisions, in the order of selection.Decide, whether the pod is in the backup or not.
	Volumes []VolumePlan `json:"volumes"`
}

// VolumePlan is what a backup would do with one volume of a pod.
type VolumePlan struct {
	selection.Decision `json:"-"`
	// Method is what takes the volume's data; empty if nothing does, and then Why says so for people.
	Method coverage.Method `json:"method,omitempty"`
	Why    string          `json:"why,omitempty"`
}

// ErrNotFound is wrapped by Plan's error when the namespace, pod or schedule does not exist.
var ErrNotFound = errors.New("not found")

// Plan returns what a backup would do with the volumes of pods, sorted by the pods' names. It needs an inventory that
// has synced, and that was made without Options.ClaimsOnly.
func (i *Inventory) Plan(ctx context.Context, request PlanRequest) ([]PodPlan, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("planning a backup: %w", err)
	}
	group, plan, err := i.prepare(request)
	if err != nil {
		return nil, fmt.Errorf("planning a backup: %w", err)
	}
	previews, err := coverage.Look(group, plan)
	if err != nil {
		return nil, err
	}
	var plans []PodPlan
	for i, preview := range previews {
		if request.Pod != "" && preview.Pod != request.Pod {
			continue
		}
		phase := group.Pods[i].Status.Phase
		p := PodPlan{
			Namespace: request.Namespace, Pod: preview.Pod, InBackup: preview.Outside == scope.In,
			Outside: preview.Outside, Message: preview.Message,
			Ended: phase == corev1.PodSucceeded || phase == corev1.PodFailed,
		}
		for _, volume := range preview.Volumes {
			p.Volumes = append(p.Volumes, VolumePlan(volume))
		}
		plans = append(plans, p)
	}
	return plans, nil
}

// prepare returns everything of the namespace, and the plan of the backup that is meant.
func (i *Inventory) prepare(request PlanRequest) (coverage.Group, *coverage.Plan, error) {
	i.mu.Lock() // volume policies that nobody asked for before are remembered
	defer i.mu.Unlock()
	var none coverage.Group
	s := i.world.spaces[request.Namespace]
	if !i.synced || s == nil {
		return none, nil, fmt.Errorf("namespace %s: %w", request.Namespace, ErrNotFound)
	}
	if request.Pod != "" && s.pods[request.Pod] == nil {
		return none, nil, fmt.Errorf("pod %s/%s: %w", request.Namespace, request.Pod, ErrNotFound)
	}
	var plan *coverage.Plan
	if request.Schedule != "" {
		schedule := i.configuration.schedules[request.Schedule]
		if schedule == nil {
			return none, nil, fmt.Errorf("schedule %s/%s: %w", i.options.Namespace, request.Schedule, ErrNotFound)
		}
		plan = coverage.SchedulePlan(schedule, i.configuration.sources())
	} else {
		plan = coverage.NewPlan(&request.Spec, nil, i.configuration.sources())
	}
	group := coverage.Group{
		Namespace: request.Namespace, Labels: s.labels, Volumes: map[string]*corev1.PersistentVolume{},
	}
	for _, name := range slices.Sorted(maps.Keys(s.pods)) {
		group.Pods = append(group.Pods, i.world.pod(s.pods[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(s.claims)) {
		i.world.include(&group, s.claims[name])
	}
	return group, plan, nil
}

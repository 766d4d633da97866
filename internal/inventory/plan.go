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
)

// PlanRequest is a request for the preview of a backup.
type PlanRequest struct {
	// Namespace is the namespace of the pods.
	Namespace string
	// Pod is the name of one pod; empty for all.
	Pod string
	// Schedule is the name of a Schedule in Velero's namespace; if it is set, Spec is ignored.
	Schedule string
	// Spec is the spec of the backup. Velero's server and the admission policy set defaults.
	Spec velerov1.BackupSpec
}

// ErrNotFound is wrapped by Plan's error if the namespace, pod or schedule does not exist.
var ErrNotFound = errors.New("not found")

// Plan returns what a backup would include of the pods, sorted by their names. The inventory must have synced, and must
// have been created without Options.ClaimsOnly.
func (i *Inventory) Plan(ctx context.Context, request PlanRequest) ([]coverage.Preview, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("planning a backup: %w", err)
	}
	group, plan, err := i.prepare(request)
	if err != nil {
		return nil, fmt.Errorf("planning a backup: %w", err)
	}
	previews, err := coverage.PreviewBackup(group, plan)
	if err != nil {
		return nil, err
	}
	if request.Pod == "" {
		return previews, nil
	}
	return slices.DeleteFunc(previews, func(p coverage.Preview) bool { return p.Pod.Name != request.Pod }), nil
}

// prepare returns all pods and claims of the namespace, and the plan of the backup.
func (i *Inventory) prepare(request PlanRequest) (coverage.Group, *coverage.Plan, error) {
	i.mu.Lock() // the configuration caches volume policies that are parsed now
	defer i.mu.Unlock()
	var none coverage.Group
	s := i.clusterState.namespaces[request.Namespace]
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
		group.Pods = append(group.Pods, i.clusterState.pod(s.pods[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(s.claims)) {
		i.clusterState.include(&group, s.claims[name])
	}
	return group, plan, nil
}

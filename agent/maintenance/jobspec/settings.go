// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package jobspec

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
)

const (
	// globalKey is the key for all repositories (velero v1.18.3, pkg/repository/maintenance/maintenance.go).
	globalKey = "global"
	// DefaultKeepJobs is how many ended Jobs of a repository are kept, for their logs
	// (velero v1.18.3, same file, DefaultKeepLatestMaintenanceJobs).
	DefaultKeepJobs = 3
	// defaultDeadline bounds a Job. What is not done by then is done by the next one: restic keeps what it has done.
	defaultDeadline = 24 * time.Hour
	// DefaultStartDeadline bounds the time until a Job's pod runs: backups wait for it.
	DefaultStartDeadline = 10 * time.Minute
	// listDeadline bounds the Job of a list. restic reads a file for each snapshot: 100,000 of them take ten minutes
	// from a storage that is not near.
	listDeadline = 30 * time.Minute
	// DefaultConcurrency is how many Jobs run in the cluster at a time.
	DefaultConcurrency = 1
)

// Settings say how a repository's Jobs are made. The first seven fields are those of Velero's own ConfigMap for its
// maintenance Jobs (velero v1.18.3, pkg/types/repo_maintenance.go, JobConfigs).
type Settings struct {
	LoadAffinity              []nodeSelector      `json:"loadAffinity,omitempty"`
	PodResources              *podResources       `json:"podResources,omitempty"`
	KeepLatestMaintenanceJobs *int                `json:"keepLatestMaintenanceJobs,omitempty"`
	PriorityClassName         string              `json:"priorityClassName,omitempty"`
	PodAnnotations            map[string]string   `json:"podAnnotations,omitempty"`
	PodLabels                 map[string]string   `json:"podLabels,omitempty"`
	Tolerations               []corev1.Toleration `json:"tolerations,omitempty"`
	// ActiveDeadline and StartDeadline bound a Job, and the time until its pod runs.
	ActiveDeadline *metav1.Duration `json:"activeDeadline,omitempty"`
	StartDeadline  *metav1.Duration `json:"startDeadline,omitempty"`
	// Concurrency is how many Jobs run at a time, under the key for all repositories alone.
	Concurrency *int `json:"concurrency,omitempty"`
	// MaxUnused and MaxRepackSize are restic's options of a prune.
	MaxUnused     string `json:"maxUnused,omitempty"`
	MaxRepackSize string `json:"maxRepackSize,omitempty"`
}

// nodeSelector selects nodes (velero v1.18.3, pkg/util/kube/pod.go, LoadAffinity).
type nodeSelector struct {
	NodeSelector metav1.LabelSelector `json:"nodeSelector"`
}

// podResources are quantities; empty or 0 is no request or limit (velero v1.18.3, pkg/util/kube/pod.go, PodResources).
type podResources struct {
	CPURequest              string `json:"cpuRequest,omitempty"`
	CPULimit                string `json:"cpuLimit,omitempty"`
	MemoryRequest           string `json:"memoryRequest,omitempty"`
	MemoryLimit             string `json:"memoryLimit,omitempty"`
	EphemeralStorageRequest string `json:"ephemeralStorageRequest,omitempty"`
	EphemeralStorageLimit   string `json:"ephemeralStorageLimit,omitempty"`
}

// defaultResources suit a small repository, and bound nothing: how much memory restic needs grows with the index.
func defaultResources() corev1.ResourceRequirements {
	return corev1.ResourceRequirements{Requests: corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("128Mi"),
	}}
}

// ReadSettings returns the settings of a repository, and what is wrong with the ConfigMap, for people. Whatever is
// wrong is left out, and the default holds. A ConfigMap that there is not has nothing to say.
func ReadSettings(config *corev1.ConfigMap, repository *resticv1.ResticRepository) (Settings, []string) {
	var (
		settings Settings
		problems []string
	)
	if config == nil {
		return settings, nil
	}
	// Velero's key has the kind of the repository at its end.
	namespaced := repository.Spec.VolumeNamespace + "-" + repository.Spec.BackupStorageLocation + "-restic"
	for _, key := range []string{globalKey, namespaced, repository.Name} {
		content, found := config.Data[key]
		if !found {
			continue
		}
		read, problem := decode(content)
		if problem == "" {
			problem = read.dropInvalid()
		}
		if problem != "" {
			problems = append(problems, fmt.Sprintf("ConfigMap %s/%s, key %q: %s; the default is used instead",
				config.Namespace, config.Name, key, problem))
		}
		if key != globalKey {
			read.Concurrency = nil
		}
		settings.override(read)
	}
	return settings, problems
}

func decode(content string) (Settings, string) {
	var settings Settings
	strict := json.NewDecoder(strings.NewReader(content))
	strict.DisallowUnknownFields()
	err := strict.Decode(&settings)
	if err == nil {
		return settings, ""
	}
	var known Settings
	if json.Unmarshal([]byte(content), &known) == nil {
		_ = known.dropInvalid()
		return known, fmt.Sprintf("%s, correct or remove that field", err)
	}
	const example = `{"podResources":{"memoryLimit":"2Gi"}}`
	return Settings{}, fmt.Sprintf("it must be a JSON object such as %s: %s", example, err)
}

// dropInvalid takes out what cannot be used, and says so.
func (s *Settings) dropInvalid() string {
	var problems []string
	if _, err := s.PodResources.requirements(); err != nil {
		problems = append(problems, err.Error())
		s.PodResources = nil
	}
	if err := (restic.PruneOptions{MaxUnused: s.MaxUnused}).Validate(); err != nil {
		problems = append(problems, err.Error())
		s.MaxUnused = ""
	}
	if err := (restic.PruneOptions{MaxRepackSize: s.MaxRepackSize}).Validate(); err != nil {
		problems = append(problems, err.Error())
		s.MaxRepackSize = ""
	}
	if s.KeepLatestMaintenanceJobs != nil && *s.KeepLatestMaintenanceJobs < 0 {
		problems = append(problems, "keepLatestMaintenanceJobs must not be negative")
		s.KeepLatestMaintenanceJobs = nil
	}
	if s.Concurrency != nil && *s.Concurrency < 1 {
		problems = append(problems, "concurrency must be at least 1")
		s.Concurrency = nil
	}
	for _, duration := range []struct {
		field string
		value **metav1.Duration
	}{{"activeDeadline", &s.ActiveDeadline}, {"startDeadline", &s.StartDeadline}} {
		if *duration.value != nil && (*duration.value).Duration < time.Second {
			problems = append(problems, duration.field+` must be a duration such as "24h"`)
			*duration.value = nil
		}
	}
	return strings.Join(problems, "; ")
}

// override takes over whatever the other has set.
func (s *Settings) override(other Settings) {
	if len(other.LoadAffinity) > 0 {
		s.LoadAffinity = other.LoadAffinity
	}
	s.PodResources = cmp.Or(other.PodResources, s.PodResources)
	s.KeepLatestMaintenanceJobs = cmp.Or(other.KeepLatestMaintenanceJobs, s.KeepLatestMaintenanceJobs)
	s.PriorityClassName = cmp.Or(other.PriorityClassName, s.PriorityClassName)
	if len(other.PodAnnotations) > 0 {
		s.PodAnnotations = other.PodAnnotations
	}
	if len(other.PodLabels) > 0 {
		s.PodLabels = other.PodLabels
	}
	if len(other.Tolerations) > 0 {
		s.Tolerations = other.Tolerations
	}
	s.ActiveDeadline = cmp.Or(other.ActiveDeadline, s.ActiveDeadline)
	s.StartDeadline = cmp.Or(other.StartDeadline, s.StartDeadline)
	s.Concurrency = cmp.Or(other.Concurrency, s.Concurrency)
	s.MaxUnused = cmp.Or(other.MaxUnused, s.MaxUnused)
	s.MaxRepackSize = cmp.Or(other.MaxRepackSize, s.MaxRepackSize)
}

func (s *Settings) DeadlineOrDefault() time.Duration {
	return ptr.Deref(s.ActiveDeadline, metav1.Duration{Duration: defaultDeadline}).Duration
}

// DeadlineFor bounds the Job of an operation. Nobody waits a day for a list.
func (s *Settings) DeadlineFor(operation resticv1.MaintenanceOperation) time.Duration {
	if operation == resticv1.OperationSnapshots {
		return min(s.DeadlineOrDefault(), listDeadline)
	}
	return s.DeadlineOrDefault()
}

func (s *Settings) StartDeadlineOrDefault() time.Duration {
	return ptr.Deref(s.StartDeadline, metav1.Duration{Duration: DefaultStartDeadline}).Duration
}

// requirements returns the container's resources: the defaults where nothing is set at all.
func (p *podResources) requirements() (corev1.ResourceRequirements, error) {
	if p == nil {
		return defaultResources(), nil
	}
	needs := corev1.ResourceRequirements{Requests: corev1.ResourceList{}, Limits: corev1.ResourceList{}}
	for _, amount := range []struct {
		field, value string
		list         corev1.ResourceList
		name         corev1.ResourceName
	}{
		{"cpuRequest", p.CPURequest, needs.Requests, corev1.ResourceCPU},
		{"cpuLimit", p.CPULimit, needs.Limits, corev1.ResourceCPU},
		{"memoryRequest", p.MemoryRequest, needs.Requests, corev1.ResourceMemory},
		{"memoryLimit", p.MemoryLimit, needs.Limits, corev1.ResourceMemory},
		{"ephemeralStorageRequest", p.EphemeralStorageRequest, needs.Requests, corev1.ResourceEphemeralStorage},
		{"ephemeralStorageLimit", p.EphemeralStorageLimit, needs.Limits, corev1.ResourceEphemeralStorage},
	} {
		if amount.value == "" {
			continue
		}
		quantity, err := resource.ParseQuantity(amount.value)
		if err != nil {
			return needs, fmt.Errorf("podResources.%s is %q: it must be a quantity such as 500m or 2Gi", amount.field,
				amount.value)
		}
		if !quantity.IsZero() {
			amount.list[amount.name] = quantity
		}
	}
	for name, request := range needs.Requests {
		if limit, limited := needs.Limits[name]; limited && request.Cmp(limit) > 0 {
			return needs, fmt.Errorf("podResources: the request of %s, %s, is above its limit, %s", name,
				request.String(), limit.String())
		}
	}
	return needs, nil
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package jobspec builds the Jobs of maintenance from the agents' DaemonSet and the settings in a ConfigMap, and reads
// how a Job ended. It makes no calls.
package jobspec

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

const (
	// hostPodsVolume and scratchVolume are the DaemonSet's volumes that a Job does not share.
	hostPodsVolume = "host-pods"
	scratchVolume  = "scratch"
	// scratchEnv tells the agent its scratch folder, and defaultScratch is it where the variable is not set.
	scratchEnv     = "VELERO_SCRATCH_DIR"
	defaultScratch = "/scratch"
	// nobody is the user and group that a Job's pod runs as, and that can read its Secrets by way of fsGroup.
	nobody = int64(65534)
	// jobDigest is how many hexadecimal digits end a Job's name: 64 bits over the UID of the repository's object, which
	// no other cluster has, so that a host name in a lock tells which cluster's Job it was.
	jobDigest = 16
	// listTTL is how long a Job that has listed snapshots is kept: whoever asked reads its log at once.
	listTTL = 10 * time.Minute
)

// Name returns the name of the Job of an entry: the same for the same entry, and short enough for its pod's name to
// be a host name, 63 bytes.
func Name(repository *resticv1.ResticRepository, entry *resticv1.Maintenance) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%s\x00%d", repository.UID, entry.Operation, entry.Host,
		entry.StartTime.Unix()))
	return fmt.Sprintf("restic-%s-%s", operationLabel(entry.Operation), hex.EncodeToString(sum[:])[:jobDigest])
}

// Build makes the Job of an entry from the DaemonSet as it is in the cluster, so that image, registry
// credentials, environment, service account, and whatever else somebody has mounted there to reach the storage, are the
// agents' own.
func Build(
	daemonSet *appsv1.DaemonSet, repository *resticv1.ResticRepository, entry *resticv1.Maintenance,
	settings Settings,
) (*batchv1.Job, error) {
	template := daemonSet.Spec.Template.DeepCopy()
	container := agentContainer(template.Spec.Containers)
	if container == nil {
		return nil, errors.New("DaemonSet " + daemonSet.Name + " has no container " + contract.DaemonSetName)
	}
	requirements, err := settings.PodResources.requirements()
	if err != nil {
		return nil, err
	}
	spec := &template.Spec
	replaceNodeVolumes(spec, container)
	container.Args = append(jobArguments(repository, entry, settings), container.Args...)
	container.Ports, container.Lifecycle = nil, nil
	container.LivenessProbe, container.ReadinessProbe, container.StartupProbe = nil, nil, nil
	container.Resources = requirements
	container.TerminationMessagePath = corev1.TerminationMessagePathDefault
	container.TerminationMessagePolicy = corev1.TerminationMessageFallbackToLogsOnError
	restrict(spec, container)
	// Beside the agent's own container only those are of use that end, or run beside it by themselves.
	spec.Containers = []corev1.Container{*container}
	spec.RestartPolicy = corev1.RestartPolicyNever
	spec.Hostname, spec.Subdomain, spec.HostPID, spec.HostIPC = entry.Host, "", false, false
	spec.NodeName, spec.Priority, spec.PriorityClassName = "", nil, settings.PriorityClassName
	// An agent must be on every node; a Job is better off on one that is fit for work.
	spec.Tolerations = settings.Tolerations
	if affinity := nodeAffinity(settings.LoadAffinity); affinity != nil {
		spec.Affinity = affinity
	}
	template.ObjectMeta = jobPodMeta(daemonSet, repository, entry, settings)

	none, owned, deadline := int32(0), true, int64(settings.DeadlineFor(entry.Operation).Seconds())
	var ttl *int32
	if entry.Operation == resticv1.OperationSnapshots {
		ttl = ptr.To(int32(listTTL.Seconds()))
	}
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: repository.Namespace, Name: entry.Job, Labels: jobLabels(repository, entry),
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: resticv1.GroupVersion().String(), Kind: "ResticRepository", Name: repository.Name,
				UID: repository.UID, Controller: &owned,
			}},
		},
		Spec: batchv1.JobSpec{
			BackoffLimit: &none, ActiveDeadlineSeconds: &deadline, TTLSecondsAfterFinished: ttl, Template: *template,
		},
	}, nil
}

func agentContainer(containers []corev1.Container) *corev1.Container {
	for i := range containers {
		if containers[i].Name == contract.DaemonSetName {
			return &containers[i]
		}
	}
	return nil
}

// replaceNodeVolumes takes the volumes of the node away, and gives the Job a scratch folder of its own.
func replaceNodeVolumes(spec *corev1.PodSpec, container *corev1.Container) {
	scratch := corev1.Volume{
		Name: scratchVolume, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}},
	}
	spec.Volumes = append(slices.DeleteFunc(spec.Volumes, func(v corev1.Volume) bool {
		return v.Name == hostPodsVolume || v.Name == scratchVolume
	}), scratch)
	gone := func(m corev1.VolumeMount) bool { return m.Name == hostPodsVolume }
	for i := range spec.InitContainers {
		spec.InitContainers[i].VolumeMounts = slices.DeleteFunc(spec.InitContainers[i].VolumeMounts, gone)
	}
	container.VolumeMounts = slices.DeleteFunc(container.VolumeMounts, gone)
	mounted := func(m corev1.VolumeMount) bool { return m.Name == scratchVolume }
	if !slices.ContainsFunc(container.VolumeMounts, mounted) {
		path := defaultScratch
		for _, variable := range container.Env {
			if variable.Name == scratchEnv && variable.Value != "" {
				path = variable.Value
			}
		}
		container.VolumeMounts = append(container.VolumeMounts,
			corev1.VolumeMount{Name: scratchVolume, MountPath: path})
	}
}

// jobArguments are put before the arguments of the DaemonSet, whose flags the subcommand takes as well.
func jobArguments(
	repository *resticv1.ResticRepository, entry *resticv1.Maintenance, settings Settings,
) []string {
	args := []string{
		"maintain", "--repository=" + repository.Name, "--operation=" + operationLabel(entry.Operation),
	}
	switch entry.Operation {
	case resticv1.OperationCheck:
		if entry.Part > 0 {
			args = append(args, fmt.Sprintf("--part=%d/%d", entry.Part, max(repository.Spec.CheckParts, entry.Part)))
		}
	case resticv1.OperationPrune:
		if settings.MaxUnused != "" {
			args = append(args, "--max-unused="+settings.MaxUnused)
		}
		if settings.MaxRepackSize != "" {
			args = append(args, "--max-repack-size="+settings.MaxRepackSize)
		}
	case resticv1.OperationSnapshots:
	case resticv1.OperationUnlock:
		if entry.Host != "" {
			args = append(args, "--host="+entry.Host)
		}
	}
	return args
}

// restrict leaves the pod no more rights than it needs. A repository in a folder that is mounted belongs to the agents'
// user, root; any other is reached over the network, by nobody.
func restrict(spec *corev1.PodSpec, container *corev1.Container) {
	root := slices.ContainsFunc(spec.Volumes, func(v corev1.Volume) bool {
		return v.Secret == nil && v.ConfigMap == nil && v.Projected == nil && v.DownwardAPI == nil && v.EmptyDir == nil
	})
	no, yes, user, group := false, true, nobody, nobody
	old := ptr.Deref(container.SecurityContext, corev1.SecurityContext{})
	context := &corev1.SecurityContext{
		AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes, RunAsNonRoot: &yes,
		Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		SELinuxOptions: old.SELinuxOptions,
	}
	if root {
		user, context.RunAsNonRoot = 0, &no
	}
	context.RunAsUser, context.RunAsGroup = &user, &user
	container.SecurityContext = context
	pod := ptr.Deref(spec.SecurityContext, corev1.PodSecurityContext{})
	pod.RunAsUser, pod.RunAsGroup, pod.RunAsNonRoot, pod.SeccompProfile = nil, nil, nil, nil
	if pod.FSGroup == nil && !root {
		pod.FSGroup = &group
	}
	spec.SecurityContext = &pod
}

// nodeAffinity returns nil for no choice. One of several choices is enough.
func nodeAffinity(choices []nodeSelector) *corev1.Affinity {
	var terms []corev1.NodeSelectorTerm
	for _, choice := range choices {
		var term corev1.NodeSelectorTerm
		for _, key := range slices.Sorted(maps.Keys(choice.NodeSelector.MatchLabels)) {
			term.MatchExpressions = append(term.MatchExpressions, corev1.NodeSelectorRequirement{
				Key: key, Operator: corev1.NodeSelectorOpIn, Values: []string{choice.NodeSelector.MatchLabels[key]},
			})
		}
		for _, expression := range choice.NodeSelector.MatchExpressions {
			term.MatchExpressions = append(term.MatchExpressions, corev1.NodeSelectorRequirement{
				Key: expression.Key, Operator: corev1.NodeSelectorOperator(expression.Operator),
				Values: expression.Values,
			})
		}
		if len(term.MatchExpressions) > 0 {
			terms = append(terms, term)
		}
	}
	if len(terms) == 0 {
		return nil
	}
	return &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
		RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: terms},
	}}
}

func jobLabels(repository *resticv1.ResticRepository, entry *resticv1.Maintenance) map[string]string {
	return map[string]string{
		contract.LabelExcludeFromBackup: "true",
		contract.LabelRepositoryUID:     string(repository.UID),
		contract.LabelRepository:        contract.LabelValue(repository.Name),
		contract.LabelOperation:         operationLabel(entry.Operation),
	}
}

// operationLabel is an operation as a label, an argument and a part of a name.
func operationLabel(operation resticv1.MaintenanceOperation) string {
	return strings.ToLower(string(operation))
}

// jobPodMeta inherits what cloud providers give identities by, but neither the labels by which pods are the
// DaemonSet's, nor what is for scraping an agent.
func jobPodMeta(
	daemonSet *appsv1.DaemonSet, repository *resticv1.ResticRepository, entry *resticv1.Maintenance,
	settings Settings,
) metav1.ObjectMeta {
	template := &daemonSet.Spec.Template
	labels := maps.Clone(template.Labels)
	if selector := daemonSet.Spec.Selector; selector != nil {
		for key := range selector.MatchLabels {
			delete(labels, key)
		}
	}
	delete(labels, contract.AgentLabelKey)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, settings.PodLabels)
	maps.Copy(labels, jobLabels(repository, entry))
	annotations := maps.Clone(template.Annotations)
	maps.DeleteFunc(annotations, func(key, _ string) bool {
		return strings.HasPrefix(key, "prometheus.io/") || strings.HasPrefix(key, "kubectl.kubernetes.io/")
	})
	if annotations == nil {
		annotations = map[string]string{}
	}
	maps.Copy(annotations, settings.PodAnnotations)
	return metav1.ObjectMeta{Labels: labels, Annotations: annotations}
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package podrestore is the RestoreItemAction that has the volumes of a pod restored: it creates a PodVolumeRestore for
// each that the backup's copy of the pod names, puts an init container first that holds the pod until they are done,
// and reports on them as one operation.
package podrestore

import (
	"fmt"
	"time"

	"github.com/sirupsen/logrus"
	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	"github.com/vmware-tanzu/velero/pkg/plugin/velero"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/stranded"
	"github.com/velero-restic/velero-plugin-for-restic/plugins/internal/cluster"
	"github.com/velero-restic/velero-plugin-for-restic/plugins/internal/operation"
)

const (
	// defaultTimeout is Velero's default of itemOperationTimeout (velero v1.18.3, pkg/cmd/server/config/config.go).
	defaultTimeout = 4 * time.Hour
)

// Action implements Velero's RestoreItemAction v2.
type Action struct {
	log     logrus.FieldLogger
	cluster *cluster.Cluster
	tracker *operation.Tracker
}

// New returns the action.
func New(log logrus.FieldLogger, c *cluster.Cluster) *Action {
	a := &Action{log: log, cluster: c}
	a.tracker = &operation.Tracker{Cluster: c, Kind: "PodVolumeRestore", Read: a.read, Evaluate: a.evaluate}
	return a
}

// Name returns the name that the action is registered under.
func (a *Action) Name() string { return contract.PluginPrefix }

// AppliesTo selects pods.
func (a *Action) AppliesTo() (velero.ResourceSelector, error) {
	return velero.ResourceSelector{IncludedResources: []string{"pods"}}, nil
}

// Execute prepares the pod. Its errors keep the pod from being restored: a pod that starts without the data that it had
// may do more harm than one that is missing.
func (a *Action) Execute(input *velero.RestoreItemActionExecuteInput) (*velero.RestoreItemActionExecuteOutput, error) {
	pod := &unstructured.Unstructured{Object: runtime.DeepCopyJSON(input.Item.UnstructuredContent())}
	if err := clean(pod); err != nil {
		return nil, err
	}
	output := velero.NewRestoreItemActionExecuteOutput(pod)
	var source corev1.Pod
	err := runtime.DefaultUnstructuredConverter.FromUnstructured(input.ItemFromBackup.UnstructuredContent(), &source)
	if err != nil {
		return nil, fmt.Errorf("reading the pod in the backup: %w", err)
	}
	value, taken := source.Annotations[contract.AnnotationTaken]
	if !taken {
		return output, nil
	}
	note, err := contract.ReadPodNote(value)
	if err != nil {
		return nil, fmt.Errorf("pod %s/%s in the backup: %w", source.Namespace, source.Name, err)
	}
	if len(note.Volumes) == 0 {
		return output, nil
	}
	r := &request{
		Action: a, restore: input.Restore, source: &source, note: note, target: targetNamespace(input.Restore, &source),
		log: a.log.WithField("pod", source.Namespace+"/"+source.Name),
	}
	objects, err := r.prepare(pod)
	if err != nil {
		return nil, err
	}
	id := operation.ID{Namespace: r.target, Pod: source.Name, Objects: objects}
	return output.WithOperationID(id.String(input.Restore.Name)), nil
}

// Progress reports on the volumes of a pod. The error is for an operation ID that is not ours.
func (a *Action) Progress(operationID string, restore *velerov1.Restore) (velero.OperationProgress, error) {
	id, err := operation.Parse(operationID, restore.Name)
	if err != nil {
		return velero.OperationProgress{}, err
	}
	return a.tracker.Progress(id), nil
}

// Cancel asks the agents to stop.
func (a *Action) Cancel(operationID string, restore *velerov1.Restore) error {
	id, err := operation.Parse(operationID, restore.Name)
	if err != nil {
		return err
	}
	return a.tracker.Cancel(id)
}

// AreAdditionalItemsReady is true: the action returns none.
func (a *Action) AreAdditionalItemsReady([]velero.ResourceIdentifier, *velerov1.Restore) (bool, error) {
	return true, nil
}

func (a *Action) read(name string) (*operation.Volume, error) {
	var object resticv1.PodVolumeRestore
	if err := a.cluster.Get(a.cluster.Namespace, name, &object); err != nil {
		return nil, err
	}
	return operation.RestoreVolume(&object), nil
}

// clean takes out of a pod what an earlier backup or restore of ours put in.
func clean(pod *unstructured.Unstructured) error {
	if annotations := pod.GetAnnotations(); annotations != nil {
		delete(annotations, contract.AnnotationTaken)
		pod.SetAnnotations(annotations)
	}
	_, err := cluster.RemoveInitContainer(pod, contract.RestoreContainer)
	return err
}

// targetNamespace returns the namespace that the pod is restored into. Velero maps it after the actions.
func targetNamespace(restore *velerov1.Restore, pod *corev1.Pod) string {
	if mapped, isMapped := restore.Spec.NamespaceMapping[pod.Namespace]; isMapped {
		return mapped
	}
	return pod.Namespace
}

func timeoutOf(restore *velerov1.Restore) time.Duration {
	if timeout := restore.Spec.ItemOperationTimeout.Duration; timeout > 0 {
		return timeout
	}
	return defaultTimeout
}

// evaluate returns whether a PodVolumeRestore can be carried out: by its pod, and by the agent on the pod's node.
func (a *Action) evaluate(v *operation.Volume, since time.Time) (stranded.Verdict, error) {
	restore, ok := v.Object.(*resticv1.PodVolumeRestore)
	if !ok {
		return stranded.Verdict{}, fmt.Errorf("unexpected type %T, want PodVolumeRestore", v.Object)
	}
	reference := restore.Spec.Pod
	pod := &corev1.Pod{}
	err := a.cluster.Get(reference.Namespace, reference.Name, pod)
	if apierrors.IsNotFound(err) {
		pod, err = nil, nil
	}
	if err != nil {
		return stranded.Verdict{}, fmt.Errorf("reading pod %s/%s: %w", reference.Namespace, reference.Name, err)
	}
	verdict := stranded.RestoredPod(restore, pod, since, a.cluster.Now())
	if verdict.Message != "" {
		return verdict, nil
	}
	if started := pod.Status.StartTime; started != nil && started.After(since) {
		since = started.Time
	}
	return a.tracker.EvaluateAgent(pod.Spec.NodeName, since)
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package annotate writes the volumes that rules include into annotations of their pods.
package annotate

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/agent/event"
	"github.com/velero-restic/velero-plugin-for-restic/agent/metric"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/pluginconfig"
	"github.com/velero-restic/velero-plugin-for-restic/internal/selection"
	"github.com/velero-restic/velero-plugin-for-restic/internal/volumerule"
)

const (
	// annotateOwner is the agent's name among the managers of a pod's fields.
	fieldOwner = "velero-restic-rules"
	// refusedInterval is how long a pod that must not be patched is left alone.
	refusedInterval = 10 * time.Minute
	// conflictInterval is how long the cache gets to catch up with a pod that has changed.
	conflictInterval = time.Second
)

// Reconciler names, in the annotation backup.velero.io/backup-volumes of each pod, the volumes that the rules
// include. It remembers what it wrote in a second annotation, and by that tells it from what a person did, which it
// never touches. Its client's cache must be made with AnnotateCache.
type Reconciler struct {
	// Client reads from the cache, and patches pods.
	Client client.Client
	// Recorder tells of pods that must not be patched, on the ConfigMap with the rules as long as there is one.
	Recorder record.EventRecorder
	// Metrics counts what is written.
	Metrics *metric.Set
	// Namespace is Velero's.
	Namespace string

	rules ruleReader
}

// ruleReader reads the rules again when their ConfigMap has changed.
type ruleReader struct {
	mu sync.Mutex
	// configMap is the one that was read last; nil before the first time, and when there was none.
	configMap *corev1.ConfigMap
	// rules are nil when there are none, and when they cannot be read.
	rules *volumerule.Rules
}

// Reconcile gives one pod the annotation that the rules want, unless there is nothing to do for it.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var pod corev1.Pod
	if err := r.Client.Get(ctx, request.NamespacedName, &pod); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !annotatable(&pod) {
		return ctrl.Result{}, nil
	}
	rules, configMap, err := r.readRules(ctx)
	if err != nil {
		return ctrl.Result{}, err
	}
	if rules == nil && configMap != nil { // they cannot be read
		return ctrl.Result{}, nil
	}
	in, err := r.input(ctx, &pod, rules)
	if err != nil {
		return ctrl.Result{}, err
	}
	changes := annotationChanges(pod.Annotations, namedByRules(in))
	if len(changes) == 0 {
		return ctrl.Result{}, nil
	}
	return r.write(ctx, &pod, changes, configMap)
}

// annotatable says whether the annotation of a pod means anything, and may be changed: not for mirrors of static pods,
// which are the kubelet's, nor for pods that have ended or are about to, nor for those that no backup has.
func annotatable(pod *corev1.Pod) bool {
	_, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]
	return !mirror && pod.DeletionTimestamp == nil && pod.Status.Phase != corev1.PodSucceeded &&
		pod.Status.Phase != corev1.PodFailed && pod.Labels[contract.LabelExcludeFromBackup] != "true"
}

// readRules returns the rules and their ConfigMap. Without a ConfigMap both are nil, and rules that cannot be read are
// nil.
func (r *Reconciler) readRules(ctx context.Context) (*volumerule.Rules, *corev1.ConfigMap, error) {
	var list corev1.ConfigMapList
	selector := client.MatchingLabelsSelector{Selector: pluginconfig.Selector(contract.PluginKindBackup)}
	if err := r.Client.List(ctx, &list, client.InNamespace(r.Namespace), selector,
		client.UnsafeDisableDeepCopy); err != nil {
		return nil, nil, fmt.Errorf("listing the ConfigMaps with rules: %w", err)
	}
	configMap, _ := pluginconfig.Choose(list.Items)
	r.rules.mu.Lock()
	defer r.rules.mu.Unlock()
	last := r.rules.configMap
	if configMap != nil && last != nil && last.UID == configMap.UID &&
		last.ResourceVersion == configMap.ResourceVersion {
		return r.rules.rules, configMap, nil
	}
	r.rules.configMap, r.rules.rules = configMap, nil
	if configMap == nil {
		return nil, nil, nil
	}
	rules, err := volumerule.Parse(configMap)
	if err != nil {
		// The plugin and an Event tell of it, too: here is why annotations stay as they are.
		ctrl.LoggerFrom(ctx).Info("Annotating no pods until the rules are mended", "reason", err.Error())
		return nil, configMap, nil
	}
	r.rules.rules = rules
	return rules, configMap, nil
}

// input returns what a pod's volumes are decided on. Annotations of ours are left out: the rules alone decide what is
// to stand in them.
func (r *Reconciler) input(
	ctx context.Context, pod *corev1.Pod, rules *volumerule.Rules,
) (selection.Input, error) {
	stripped := *pod
	stripped.Annotations = maps.Clone(pod.Annotations)
	delete(stripped.Annotations, contract.AnnotationVolumesToBackup)
	in := selection.Input{
		Pod: &stripped, Rules: rules, Claims: map[string]*corev1.PersistentVolumeClaim{},
		Volumes:   map[string]*corev1.PersistentVolume{},
		NodeAgent: true, // whether Velero would lose the pod without it is not asked here
	}
	if rules == nil {
		return in, nil
	}
	for i := range pod.Spec.Volumes {
		name := selection.ClaimName(pod, &pod.Spec.Volumes[i])
		if name == "" || in.Claims[name] != nil {
			continue
		}
		var claim corev1.PersistentVolumeClaim
		found, err := r.get(ctx, client.ObjectKey{Namespace: pod.Namespace, Name: name}, &claim)
		if err != nil {
			return in, err
		}
		if !found {
			continue
		}
		in.Claims[name] = &claim
		var volume corev1.PersistentVolume
		found, err = r.get(ctx, client.ObjectKey{Name: claim.Spec.VolumeName}, &volume)
		if err != nil {
			return in, err
		}
		if found {
			in.Volumes[volume.Name] = &volume
		}
	}
	return in, nil
}

func (r *Reconciler) get(ctx context.Context, key client.ObjectKey, object client.Object) (bool, error) {
	if key.Name == "" {
		return false, nil
	}
	err := r.Client.Get(ctx, key, object)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading %T %s: %w", object, key, err)
	}
	return true, nil
}

// annotationChanges returns what has to change in a pod's annotations for the value that the rules want: nil removes
// one, and no entry is no change. A value that is not the remembered one is a person's and stays, and what was
// remembered goes. A value that a person has taken away stays away for as long as the rules want one: two who write and
// remove the same would never end.
func annotationChanges(now map[string]string, wanted string) map[string]*string {
	value, found := now[contract.AnnotationVolumesToBackup]
	remembered, known := now[contract.AnnotationVolumesByRule]
	changes := map[string]*string{}
	remove := func(key string, there bool) {
		if there {
			changes[key] = nil
		}
	}
	switch {
	case found && value != remembered, found && value == "":
		remove(contract.AnnotationVolumesByRule, known)
	case wanted == "":
		remove(contract.AnnotationVolumesByRule, known)
		remove(contract.AnnotationVolumesToBackup, found)
	case known && !found, value == wanted:
	default:
		changes[contract.AnnotationVolumesToBackup] = &wanted
		changes[contract.AnnotationVolumesByRule] = &wanted
	}
	return changes
}

// write patches the two annotations of a pod, unless it has changed meanwhile: then it is looked at again.
func (r *Reconciler) write(
	ctx context.Context, pod *corev1.Pod, changes map[string]*string, configMap *corev1.ConfigMap,
) (ctrl.Result, error) {
	patch, err := annotationPatch(pod, changes)
	if err != nil {
		return ctrl.Result{}, err
	}
	err = r.Client.Patch(ctx, pod.DeepCopy(), patch, client.FieldOwner(fieldOwner))
	switch {
	case err == nil:
		ctrl.LoggerFrom(ctx).V(1).Info("Annotated")
		r.Metrics.PodAnnotated(metric.AnnotationWritten)
	case apierrors.IsNotFound(err):
	case apierrors.IsConflict(err):
		return ctrl.Result{RequeueAfter: conflictInterval}, nil
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		r.recordRefusal(ctx, pod, configMap, err)
		return ctrl.Result{RequeueAfter: refusedInterval}, nil
	default:
		return ctrl.Result{}, fmt.Errorf("annotating pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return ctrl.Result{}, nil
}

// recordRefusal reports a pod that the agent may not change: a permission is missing, or an admission policy or a
// webhook refuses the change. A webhook that gives no code makes it a bad request (Kubernetes v1.36.3,
// apiserver/pkg/admission/plugin/webhook/errors/statuserror.go, ToStatusErr).
func (r *Reconciler) recordRefusal(
	ctx context.Context, pod *corev1.Pod, configMap *corev1.ConfigMap, cause error,
) {
	r.Metrics.PodAnnotated(metric.AnnotationRefused)
	message := fmt.Sprintf("Annotation %s of pod %s/%s cannot be written, and is tried again in %s: %v",
		contract.AnnotationVolumesToBackup, pod.Namespace, pod.Name, refusedInterval, cause)
	if apierrors.IsForbidden(cause) {
		message += ". The agent needs the rights of examples/component/annotate"
	}
	ctrl.LoggerFrom(ctx).Info(message)
	var about runtime.Object = pod
	if configMap != nil {
		about = configMap
	}
	r.Recorder.Event(about, corev1.EventTypeWarning, resticv1.ReasonAnnotateFailed, event.Clip(message))
}

// annotationPatch is a merge patch of these annotations and nothing else, which the API server refuses as soon as the
// pod is another than the one that was decided on. It is not made out of two pods: those of the cache lack annotations
// that are none of ours, and the difference would remove them.
func annotationPatch(pod *corev1.Pod, changes map[string]*string) (client.Patch, error) {
	content, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": pod.UID, "resourceVersion": pod.ResourceVersion, "annotations": changes,
	}})
	if err != nil {
		return nil, fmt.Errorf("writing the patch of pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return client.RawPatch(types.MergePatchType, content), nil
}

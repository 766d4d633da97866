// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package podblock is the ItemBlockAction that has Velero's core leave alone the claims whose data this project takes.
// Velero runs it for a pod before it looks at the pod's volumes, so the label that it puts on a claim already counts
// for that pod: a volume policy matches it (examples/base).
package podblock

import (
	"fmt"

	"github.com/sirupsen/logrus"
	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	"github.com/vmware-tanzu/velero/pkg/plugin/velero"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/selection"
	"github.com/velero-restic/velero-plugin-for-restic/plugins/internal/cluster"
	"github.com/velero-restic/velero-plugin-for-restic/plugins/internal/survey"
)

// Action implements Velero's ItemBlockAction v1. It returns no related items: Velero's own action for pods returns
// their claims.
type Action struct {
	log     logrus.FieldLogger
	cluster *cluster.Cluster
}

// New returns the action.
func New(log logrus.FieldLogger, c *cluster.Cluster) *Action { return &Action{log: log, cluster: c} }

// Name returns the name that the action is registered under.
func (a *Action) Name() string { return contract.PluginPrefix }

// AppliesTo selects pods, and claims for the sake of those that no pod uses any more.
func (a *Action) AppliesTo() (velero.ResourceSelector, error) {
	return velero.ResourceSelector{IncludedResources: []string{"pods", "persistentvolumeclaims"}}, nil
}

// GetRelatedItems puts the label on the claims of a pod that are to be taken, and takes it off those that are no
// longer. Trouble is logged at error level, so that the backup counts it, and never keeps the item out of the backup.
func (a *Action) GetRelatedItems(
	item runtime.Unstructured, backup *velerov1.Backup,
) ([]velero.ResourceIdentifier, error) {
	content := item.UnstructuredContent()
	if content["kind"] == "PersistentVolumeClaim" {
		var claim corev1.PersistentVolumeClaim
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, &claim); err != nil {
			return nil, fmt.Errorf("reading the claim to back up: %w", err)
		}
		a.claim(&claim, backup)
		return nil, nil
	}
	var pod corev1.Pod
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, &pod); err != nil {
		return nil, fmt.Errorf("reading the pod to back up: %w", err)
	}
	a.pod(&pod, backup)
	return nil, nil
}

func (a *Action) pod(pod *corev1.Pod, backup *velerov1.Backup) {
	log := a.log.WithField("pod", pod.Namespace+"/"+pod.Name)
	s, err := survey.New(a.cluster, backup)
	if err != nil {
		log.Errorf("choosing the volumes of pod %s/%s: %v", pod.Namespace, pod.Name, err)
		return
	}
	in, err := s.Input(pod)
	if err != nil {
		log.Errorf("choosing the volumes of pod %s/%s: %v", pod.Namespace, pod.Name, err)
		return
	}
	a.reportRules(log, pod, s.Rules())
	for _, claim := range selection.ClaimsToLabel(in) {
		if claim.Labels[contract.LabelClaimed] == "true" {
			continue
		}
		if err := a.label(claim, `"true"`); err != nil {
			log.Errorf("labeling PersistentVolumeClaim %s/%s with %s=true, without which Velero handles its data "+
				"itself: %v", claim.Namespace, claim.Name, contract.LabelClaimed, err)
		}
	}
	for _, claim := range selection.ClaimsToRelease(in) {
		if err := a.release(s, claim); err != nil {
			log.Errorf("taking label %s off PersistentVolumeClaim %s/%s, without which Velero makes no snapshot "+
				"of it: %v", contract.LabelClaimed, claim.Namespace, claim.Name, err)
		}
	}
}

// reportRules tells of rules that the API server would not hand over. A moment later, when the BackupItemAction asks,
// it may, and then nobody else says that claims which they include lack their label. Of a mistake in the rules that
// action tells anyway.
func (a *Action) reportRules(log logrus.FieldLogger, pod *corev1.Pod, rules survey.RulesReport) {
	phase := pod.Status.Phase
	if rules.Problem == nil || rules.ConfigMap != "" || phase == corev1.PodSucceeded || phase == corev1.PodFailed {
		return
	}
	log.Errorf("pod %s/%s: claims that rules include may lack label %s in this backup, so that Velero handles their "+
		"data itself, since the rules cannot be read: %v: try again, or see the API server's log",
		pod.Namespace, pod.Name, contract.LabelClaimed, rules.Problem)
}

// claim takes the label off a claim that no pod needs it for, such as one whose workload was scaled to nothing since.
func (a *Action) claim(claim *corev1.PersistentVolumeClaim, backup *velerov1.Backup) {
	if claim.Labels[contract.LabelClaimed] == "" {
		return
	}
	s, err := survey.New(a.cluster, backup)
	if err == nil {
		err = a.release(s, claim)
	}
	if err != nil {
		a.log.Errorf("taking label %s off PersistentVolumeClaim %s/%s, without which Velero makes no snapshot "+
			"of it: %v", contract.LabelClaimed, claim.Namespace, claim.Name, err)
	}
}

// release takes the label off unless a pod of this backup, or another backup that is being taken, may need it.
func (a *Action) release(s *survey.Survey, claim *corev1.PersistentVolumeClaim) error {
	var live corev1.PersistentVolumeClaim
	err := a.cluster.Get(claim.Namespace, claim.Name, &live)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading it: %w", err)
	}
	if _, labeled := live.Labels[contract.LabelClaimed]; !labeled {
		return nil // Velero's copy of the claim is from before this backup's pods were looked at
	}
	needed, err := s.Labels(&live)
	if err != nil || needed {
		return err
	}
	others, err := s.OthersRunning()
	if err != nil {
		return err
	}
	log := a.log.WithField("persistentVolumeClaim", claim.Namespace+"/"+claim.Name)
	if others {
		log.Warnf("the data of PersistentVolumeClaim %s/%s may be in no snapshot of this backup: it carries label %s, "+
			"which stays on it since another backup is being taken that may need it",
			claim.Namespace, claim.Name, contract.LabelClaimed)
		return nil
	}
	if err := a.label(claim, "null"); err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	log.Warnf("the data of PersistentVolumeClaim %s/%s is no longer asked for with restic: label %s was taken off it. "+
		"This backup may still have no snapshot of it, the next one will", claim.Namespace, claim.Name,
		contract.LabelClaimed)
	return nil
}

// label sets the label to a JSON value; null removes it.
func (a *Action) label(claim *corev1.PersistentVolumeClaim, value string) error {
	patch := fmt.Appendf(nil, `{"metadata":{"labels":{%q:%s}}}`, contract.LabelClaimed, value)
	return a.cluster.Retry(func() error {
		return a.cluster.Client.Patch(a.cluster.Context, claim.DeepCopy(), client.RawPatch(types.MergePatchType, patch))
	})
}

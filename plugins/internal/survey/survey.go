// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package survey reads from the API server what package selection decides on: for one backup, the policies, and for a
// pod its claims, their volumes and its node.
package survey

import (
	"cmp"
	"fmt"
	"slices"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/scope"
	"github.com/velero-restic/velero-plugin-for-restic/internal/selection"
	"github.com/velero-restic/velero-plugin-for-restic/internal/volumepolicy"
	"github.com/velero-restic/velero-plugin-for-restic/plugins/internal/cluster"
)

// Survey asks on behalf of one backup.
type Survey struct {
	cluster *cluster.Cluster
	backup  *velerov1.Backup
	// spec is the backup's with what its resource policies add to the lists of kinds.
	spec     *velerov1.BackupSpec
	policies *volumepolicy.Policies
	rules    RulesReport
}

// RulesReport is what there is to say about the rules that select volumes, as far as pods that were looked at depend
// on them.
type RulesReport struct {
	// Problem says why they cannot be read; nil when they can or need not be.
	Problem error
	// ConfigMap is the name of the ConfigMap that is to be mended, if there is one.
	ConfigMap string
}

// New returns the survey of a backup. It fails if the backup's volume policies cannot be read.
func New(c *cluster.Cluster, backup *velerov1.Backup) (*Survey, error) {
	s := &Survey{cluster: c, backup: backup}
	var own, clusterWide *volumepolicy.Policies
	var err error
	if reference := backup.Spec.ResourcePolicy; reference != nil {
		if own, err = s.read(reference.Name); err != nil {
			return nil, err
		}
	}
	if clusterWide, err = s.read(backup.Annotations[velerov1.GlobalBackupVolumePolicyConfigMapAnnotation]); err != nil {
		return nil, err
	}
	s.policies = volumepolicy.Merge(own, clusterWide)
	s.spec = scope.Combine(&backup.Spec, own.Sections().Resources)
	return s, nil
}

// read returns the volume policies of a ConfigMap, nil without a name.
func (s *Survey) read(name string) (*volumepolicy.Policies, error) {
	if name == "" {
		return nil, nil //nolint:nilnil // no policies are a nil value: see volumepolicy.Policies
	}
	var configMap corev1.ConfigMap
	if err := s.cluster.Get(s.cluster.Namespace, name, &configMap); err != nil {
		return nil, fmt.Errorf("reading the volume policies of backup %s in ConfigMap %s/%s: %w",
			s.backup.Name, s.cluster.Namespace, name, err)
	}
	policies, err := volumepolicy.Parse(&configMap)
	if err != nil {
		return nil, fmt.Errorf("reading the volume policies of backup %s: %w", s.backup.Name, err)
	}
	return policies, nil
}

// Decide returns what becomes of the volumes of a pod. The labels of claims are read from the API server and not
// assumed: without them Velero's core takes the volumes as well.
func (s *Survey) Decide(pod *corev1.Pod) ([]selection.Decision, error) {
	in, err := s.Input(pod)
	if err != nil {
		return nil, err
	}
	decisions := selection.Decide(in)
	if !slices.ContainsFunc(decisions, func(d selection.Decision) bool { return d.Asked || d.CostsPod }) {
		return decisions, nil
	}
	// Most pods have nothing for which the node matters, and for them two requests are saved.
	if err := s.addNode(&in); err != nil {
		return nil, err
	}
	return selection.Decide(in), nil
}

// Input returns what is known of a pod, without what the decision about a claim's label does not depend on: of its node
// the operating system alone, where rules may ask for what cannot be taken there.
func (s *Survey) Input(pod *corev1.Pod) (selection.Input, error) {
	in := selection.Input{
		Pod:            pod,
		DefaultVolumes: s.backup.Spec.DefaultVolumesToFsBackup != nil && *s.backup.Spec.DefaultVolumesToFsBackup,
		Policies:       s.policies,
		Claims:         map[string]*corev1.PersistentVolumeClaim{},
		Volumes:        map[string]*corev1.PersistentVolume{},
		ClaimsExcluded: !scope.Includes(s.spec, scope.Claims()),
	}
	for i := range pod.Spec.Volumes {
		name := selection.ClaimName(pod, &pod.Spec.Volumes[i])
		if name == "" {
			continue
		}
		if err := s.addClaim(&in, name); err != nil {
			return selection.Input{}, err
		}
	}
	s.addRules(&in)
	if in.Rules != nil {
		if err := s.addSystem(&in); err != nil {
			return selection.Input{}, err
		}
	}
	return in, nil
}

// addRules reads the rules, for a pod that has a volume about which they may decide. Rules that cannot be read keep
// nothing out of the backup that else is asked for.
func (s *Survey) addRules(in *selection.Input) {
	if !selection.DependsOnRules(*in) {
		return
	}
	rules, err := s.cluster.RulesOf(s.backup.UID)
	if err != nil {
		s.rules.Problem, in.RulesInvalid = err, true
		return
	}
	s.rules.Problem, s.rules.ConfigMap = rules.Invalid, rules.ConfigMap
	in.Rules, in.RulesInvalid = rules.Rules, rules.Invalid != nil
}

// Rules returns what there is to say about the rules, after Input or Decide.
func (s *Survey) Rules() RulesReport { return s.rules }

// addClaim reads a claim and the volume that it is bound to. What does not exist is left out: it has a reason there.
func (s *Survey) addClaim(in *selection.Input, name string) error {
	var claim corev1.PersistentVolumeClaim
	err := s.cluster.Get(in.Pod.Namespace, name, &claim)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading PersistentVolumeClaim %s/%s: %w", in.Pod.Namespace, name, err)
	}
	in.Claims[name] = &claim
	if claim.Spec.VolumeName == "" {
		return nil
	}
	var volume corev1.PersistentVolume
	err = s.cluster.Get("", claim.Spec.VolumeName, &volume)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading PersistentVolume %s: %w", claim.Spec.VolumeName, err)
	}
	in.Volumes[volume.Name] = &volume
	return nil
}

// addNode reads what the decision needs of the pod's node.
func (s *Survey) addNode(in *selection.Input) error {
	name := in.Pod.Spec.NodeName
	if name == "" {
		return nil
	}
	nodeAgent, err := s.cluster.NodeAgentOn(name)
	if err != nil {
		return err
	}
	in.NodeAgent = nodeAgent
	return s.addSystem(in)
}

// addSystem reads the operating system of the pod's node, unless it is known.
func (s *Survey) addSystem(in *selection.Input) error {
	name := in.Pod.Spec.NodeName
	if name == "" || in.NodeOS != "" {
		return nil
	}
	var node corev1.Node
	err := s.cluster.Get("", name, &node)
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("reading node %s: %w", name, err)
	}
	in.NodeOS = node.Labels[corev1.LabelOSStable]
	return nil
}

// Users returns the pods that use the claim and that this backup takes along. Velero takes every pod that mounts a
// claim in the backup, whatever the backup's label selector says (velero v1.18.3, pkg/itemblock/actions/pvc_action.go),
// unless pods are left out altogether.
func (s *Survey) Users(claim *corev1.PersistentVolumeClaim) ([]corev1.Pod, error) {
	if !scope.Includes(s.spec, scope.Pods()) {
		return nil, nil
	}
	var pods corev1.PodList
	err := s.cluster.Retry(func() error {
		return s.cluster.Client.List(s.cluster.Context, &pods, client.InNamespace(claim.Namespace))
	})
	if err != nil {
		return nil, fmt.Errorf("listing the pods that use PersistentVolumeClaim %s/%s: %w",
			claim.Namespace, claim.Name, err)
	}
	return slices.DeleteFunc(pods.Items, func(pod corev1.Pod) bool {
		return pod.DeletionTimestamp != nil || pod.Labels[contract.LabelExcludeFromBackup] == "true" ||
			!uses(&pod, claim.Name)
	}), nil
}

// Labels says whether any pod in the backup needs a claim that carries contract.LabelClaimed to carry it further, or
// may need it for the sake of rules that cannot be read.
func (s *Survey) Labels(claim *corev1.PersistentVolumeClaim) (bool, error) {
	return s.cluster.Once(s.backup.UID, "labels "+string(claim.UID), func() (bool, error) {
		return s.anyUser(claim, func(pod *corev1.Pod) (bool, error) {
			in, err := s.Input(pod)
			return err == nil && !slices.ContainsFunc(selection.ClaimsToRelease(in),
				func(c *corev1.PersistentVolumeClaim) bool { return c.Name == claim.Name }), err
		})
	})
}

// Takes says whether the content of the claim goes into this backup with restic, through any pod. What keeps Velero's
// core from it is contract.LabelClaimed as it stands in the API server; without it only a volume policy of the backup
// or a rule can have it taken, and nobody is asked where there are none. Of a namespace that is not in the backup it
// takes nothing, though it may have PersistentVolumes of it.
func (s *Survey) Takes(claim *corev1.PersistentVolumeClaim) (bool, error) {
	if claim.Labels[contract.LabelClaimed] != "true" && !s.takesUnlabeled() {
		return false, nil
	}
	// A spec that cannot be read is none that Velero backs up by.
	if reach, err := scope.New(s.spec); err == nil && reach.Namespace(claim.Namespace, nil) != scope.Included {
		return false, nil
	}
	return s.cluster.Once(s.backup.UID, "takes "+string(claim.UID), func() (bool, error) {
		return s.anyUser(claim, func(pod *corev1.Pod) (bool, error) {
			if pod.Status.Phase != corev1.PodRunning {
				return false, nil // selection would say so, after three requests
			}
			decisions, err := s.Decide(pod)
			return err == nil && selection.Takes(decisions, claim.Name), err
		})
	})
}

func (s *Survey) takesUnlabeled() bool {
	if s.policies.AskForRestic() {
		return true
	}
	rules, err := s.cluster.RulesOf(s.backup.UID)
	return err == nil && rules.Rules != nil
}

// anyUser asks about the pods that use the claim, first about those that run: most likely one of them answers yes.
func (s *Survey) anyUser(claim *corev1.PersistentVolumeClaim, asks func(*corev1.Pod) (bool, error)) (bool, error) {
	pods, err := s.Users(claim)
	if err != nil {
		return false, err
	}
	slices.SortStableFunc(pods, func(a, b corev1.Pod) int { return cmp.Compare(waits(&a), waits(&b)) })
	for i := range pods {
		if yes, err := asks(&pods[i]); yes || err != nil {
			return yes, err
		}
	}
	return false, nil
}

func waits(pod *corev1.Pod) int {
	if pod.Status.Phase == corev1.PodRunning {
		return 0
	}
	return 1
}

// OthersRunning says whether another backup is being taken, which may need the labels that this one does not.
func (s *Survey) OthersRunning() (bool, error) {
	var backups velerov1.BackupList
	err := s.cluster.Retry(func() error {
		return s.cluster.Client.List(s.cluster.Context, &backups, client.InNamespace(s.cluster.Namespace))
	})
	if err != nil {
		return false, fmt.Errorf("listing backups: %w", err)
	}
	return slices.ContainsFunc(backups.Items, func(other velerov1.Backup) bool {
		return other.UID != s.backup.UID && other.Status.Phase == velerov1.BackupPhaseInProgress
	}), nil
}

func uses(pod *corev1.Pod, claim string) bool {
	return slices.ContainsFunc(pod.Spec.Volumes, func(volume corev1.Volume) bool {
		return selection.ClaimName(pod, &volume) == claim
	})
}

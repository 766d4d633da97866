// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package podbackup is the BackupItemAction that has the volumes of a pod taken: it creates a PodVolumeBackup for each,
// writes on the backup's copy of the pod which they are, and reports on them as one operation.
package podbackup

import (
	"fmt"
	"time"

	"github.com/sirupsen/logrus"
	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	"github.com/vmware-tanzu/velero/pkg/plugin/velero"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/selection"
	"github.com/velero-restic/velero-plugin-for-restic/internal/stranded"
	"github.com/velero-restic/velero-plugin-for-restic/plugins/internal/cluster"
	"github.com/velero-restic/velero-plugin-for-restic/plugins/internal/operation"
	"github.com/velero-restic/velero-plugin-for-restic/plugins/internal/survey"
)

// defaultTimeout is Velero's default of itemOperationTimeout (velero v1.18.3, pkg/cmd/server/config/config.go).
const defaultTimeout = 4 * time.Hour

// Action implements Velero's BackupItemAction v2.
type Action struct {
	log     logrus.FieldLogger
	cluster *cluster.Cluster
	tracker *operation.Tracker
}

// New returns the action.
func New(log logrus.FieldLogger, c *cluster.Cluster) *Action {
	a := &Action{log: log, cluster: c}
	a.tracker = &operation.Tracker{Cluster: c, Kind: "PodVolumeBackup", Read: a.read, Evaluate: a.evaluate}
	return a
}

// Name returns the name that the action is registered under.
func (a *Action) Name() string { return contract.PluginPrefix }

// AppliesTo selects pods.
func (a *Action) AppliesTo() (velero.ResourceSelector, error) {
	return velero.ResourceSelector{IncludedResources: []string{"pods"}}, nil
}

// Execute has the pod's volumes taken. What goes wrong with a volume is logged at error level, so that the backup
// counts it; the pod stays in the backup. The error is for an item that is no pod.
func (a *Action) Execute(item runtime.Unstructured, backup *velerov1.Backup) (
	runtime.Unstructured, []velero.ResourceIdentifier, string, []velero.ResourceIdentifier, error,
) {
	switch backup.Status.Phase {
	case velerov1.BackupPhaseFinalizing, velerov1.BackupPhaseFinalizingPartiallyFailed:
		return item, nil, "", nil, nil // Velero refuses an operation that begins now
	default:
	}
	var pod corev1.Pod
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(item.UnstructuredContent(), &pod); err != nil {
		return nil, nil, "", nil, fmt.Errorf("reading the pod to back up: %w", err)
	}
	copied := &unstructured.Unstructured{Object: runtime.DeepCopyJSON(item.UnstructuredContent())}
	if err := clean(copied); err != nil {
		return nil, nil, "", nil, err
	}
	r := &request{
		Action: a, backup: backup, pod: &pod,
		log: a.log.WithField("pod", pod.Namespace+"/"+pod.Name),
	}
	taken := r.createAll()
	if len(taken.objects) == 0 {
		return copied, nil, "", nil, nil
	}
	if err := annotate(copied, backup, taken.note); err != nil {
		return nil, nil, "", nil, err
	}
	id := operation.ID{Namespace: pod.Namespace, Pod: pod.Name, Objects: taken.objects}
	if !hasHooks(&pod, backup) {
		return copied, nil, id.String(backup.Name), a.identifiers(id), nil
	}
	r.wait(id)
	setAnnotation(copied, velerov1.MustIncludeAdditionalItemAnnotation, "true")
	return copied, a.identifiers(id), "", nil, nil
}

// Progress reports on the volumes of a pod. The error is for an operation ID that is not ours.
func (a *Action) Progress(operationID string, backup *velerov1.Backup) (velero.OperationProgress, error) {
	id, err := operation.Parse(operationID, backup.Name)
	if err != nil {
		return velero.OperationProgress{}, err
	}
	return a.tracker.Progress(id), nil
}

// Cancel asks the agents to stop.
func (a *Action) Cancel(operationID string, backup *velerov1.Backup) error {
	id, err := operation.Parse(operationID, backup.Name)
	if err != nil {
		return err
	}
	return a.tracker.Cancel(id)
}

func (a *Action) read(name string) (*operation.Volume, error) {
	var object resticv1.PodVolumeBackup
	if err := a.cluster.Get(a.cluster.Namespace, name, &object); err != nil {
		return nil, err
	}
	return operation.BackupVolume(&object), nil
}

// evaluate returns whether the agent on the node of a PodVolumeBackup can carry it out.
func (a *Action) evaluate(v *operation.Volume, since time.Time) (stranded.Verdict, error) {
	object, ok := v.Object.(*resticv1.PodVolumeBackup)
	if !ok {
		return stranded.Verdict{}, fmt.Errorf("unexpected type %T, want PodVolumeBackup", v.Object)
	}
	return a.tracker.EvaluateAgent(object.Spec.Node, since)
}

// identifiers returns the custom resources of an operation for Velero to collect, and nothing but them: Velero cannot
// finalize a backup in which a pod is to be collected again.
func (a *Action) identifiers(id operation.ID) []velero.ResourceIdentifier {
	resource := schema.GroupResource{Group: resticv1.GroupName, Resource: resticv1.ResourcePodVolumeBackups}
	identifiers := make([]velero.ResourceIdentifier, 0, len(id.Objects))
	for _, name := range id.Objects {
		identifiers = append(identifiers,
			velero.ResourceIdentifier{GroupResource: resource, Namespace: a.cluster.Namespace, Name: name})
	}
	return identifiers
}

// request is one call of Execute.
type request struct {
	*Action
	log    logrus.FieldLogger
	backup *velerov1.Backup
	pod    *corev1.Pod
	// identifier is the repository as restic names it, if that is known.
	identifier string
}

// taking is what came of the pod's volumes.
type taking struct {
	objects []string
	note    []contract.TakenVolume
}

// createAll makes a PodVolumeBackup for each volume that is to be taken, and for each that was asked for and cannot be.
func (r *request) createAll() taking {
	decisions, err := r.decide()
	if err != nil {
		r.log.Errorf("no volume of pod %s/%s is backed up with restic: %v", r.pod.Namespace, r.pod.Name, err)
		return taking{}
	}
	var out taking
	for _, d := range decisions {
		r.report(d)
		if !wantsObject(d) {
			continue
		}
		object, err := r.create(d)
		if err != nil {
			r.log.Errorf("volume %s of pod %s/%s is not backed up: %v", d.Volume, r.pod.Namespace, r.pod.Name, err)
			continue
		}
		out.objects = append(out.objects, object.Name)
		if d.Take {
			out.note = append(out.note, contract.TakenVolume{
				Volume: d.Volume, PodVolumeBackup: object.Name, PVC: claimName(d),
				PodUID: string(object.Spec.Pod.UID), SourceVolume: object.Spec.Volume,
			})
		}
	}
	return out
}

func (r *request) decide() ([]selection.Decision, error) {
	s, err := survey.New(r.cluster, r.backup)
	if err != nil {
		return nil, err
	}
	decisions, err := s.Decide(r.pod)
	if err != nil {
		return nil, err
	}
	r.reportRules(s.Rules())
	if decisions, err = r.withoutEnded(s, decisions); err != nil {
		return nil, err
	}
	for _, d := range decisions {
		if d.Take {
			repository, err := r.cluster.EnsureRepository(
				r.pod.Namespace, r.backup.Spec.StorageLocation, cluster.ToBackUp)
			if err != nil {
				return nil, err
			}
			r.identifier = repository.Status.ResticIdentifier
			break
		}
	}
	return decisions, nil
}

// withoutEnded leaves out volumes of a pod that has come to its end whose claims are taken through another pod, unless
// somebody has asked for just these volumes: those of a CronJob's last pods would be missed at each backup.
func (r *request) withoutEnded(s *survey.Survey, decisions []selection.Decision) ([]selection.Decision, error) {
	if phase := r.pod.Status.Phase; phase != corev1.PodSucceeded && phase != corev1.PodFailed {
		return decisions, nil
	}
	var kept []selection.Decision
	for _, d := range decisions {
		if d.Claim != nil && d.Reason == selection.ReasonPodNotRunning &&
			(d.How == selection.HowRule || d.How == selection.HowDefault) {
			taken, err := s.Takes(d.Claim)
			if err != nil {
				return nil, err
			}
			if taken {
				r.log.Debugf("volume %s of pod %s/%s is backed up through another pod", d.Volume, r.pod.Namespace,
					r.pod.Name)
				continue
			}
		}
		kept = append(kept, d)
	}
	return kept, nil
}

// reportRules logs at error level that rules cannot be read, for each pod that they may be about: a backup must not
// look whole when nobody knows what was to be in it. Of a pod that is done nothing could be taken anyway.
func (r *request) reportRules(rules survey.RulesReport) {
	if warning := r.cluster.WarnOfRules(r.backup.UID); warning != "" {
		r.log.Warn(warning)
	}
	phase := r.pod.Status.Phase
	if rules.Problem == nil || phase == corev1.PodSucceeded || phase == corev1.PodFailed {
		return
	}
	remedy := "try again, or see the API server's log"
	if rules.ConfigMap != "" {
		remedy = fmt.Sprintf("correct it with `kubectl -n %s edit configmap %s`", r.cluster.Namespace, rules.ConfigMap)
	}
	r.log.Errorf("pod %s/%s: volumes may be missing, since the rules that select them cannot be read. What "+
		"annotations, volume policies and defaults ask for is backed up: %v: %s",
		r.pod.Namespace, r.pod.Name, rules.Problem, remedy)
}

// report logs what becomes of a volume. Velero counts warnings and errors of the log as the backup's
// (velero v1.18.3, pkg/controller/backup_controller.go: logCounter).
func (r *request) report(d selection.Decision) {
	log := r.log.WithFields(logrus.Fields{"volume": d.Volume, "reason": d.Reason})
	switch d.Severity() {
	case selection.SeverityError:
		log.Error(d.Message)
	case selection.SeverityWarning:
		log.Warn(d.Message)
	case selection.SeverityInfo:
		if d.Take && d.Rule != "" {
			log.Infof("volume %s of pod %s/%s is backed up with restic for the sake of rule %q",
				d.Volume, r.pod.Namespace, r.pod.Name, d.Rule)
			return
		}
		log.Debug(d.Message)
	}
}

// wait waits for the volumes, for a pod with hooks: the hook after the backup may thaw what the hook before it froze,
// and Velero runs it as soon as this action returns.
func (r *request) wait(id operation.ID) {
	r.log.Infof("waiting for the volumes of pod %s/%s, since it has backup hooks", r.pod.Namespace, r.pod.Name)
	progress, err := r.tracker.Wait(id, timeoutOf(r.backup))
	switch {
	case err != nil:
		r.log.Error(err.Error())
	case progress.Err != "":
		r.log.Error(progress.Err)
	default:
		r.log.Info(progress.Description)
	}
}

// wantsObject says whether a decision has a custom resource: also to show that, and why, a volume is not taken. What
// is left to Velero is Velero's to show, and what has no name has no place.
func wantsObject(d selection.Decision) bool {
	return d.Take || (d.Asked && d.Volume != "" && !d.LeftToVelero && d.Severity() != selection.SeverityInfo)
}

// clean takes out of the backup's copy of a pod what an earlier backup or restore of ours put in.
func clean(pod *unstructured.Unstructured) error {
	annotations := pod.GetAnnotations()
	if _, stale := annotations[contract.AnnotationTaken]; stale {
		delete(annotations, contract.AnnotationTaken)
		pod.SetAnnotations(annotations)
	}
	_, err := cluster.RemoveInitContainer(pod, contract.RestoreContainer)
	return err
}

// annotate writes on the backup's copy of the pod which volumes were taken.
func annotate(pod *unstructured.Unstructured, backup *velerov1.Backup, volumes []contract.TakenVolume) error {
	if len(volumes) == 0 {
		return nil
	}
	note, err := contract.WritePodNote(contract.PodNote{BackupUID: string(backup.UID), Volumes: volumes})
	if err != nil {
		return err
	}
	setAnnotation(pod, contract.AnnotationTaken, note)
	return nil
}

func setAnnotation(object *unstructured.Unstructured, key, value string) {
	annotations := object.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[key] = value
	object.SetAnnotations(annotations)
}

func claimName(d selection.Decision) string {
	if d.Claim == nil {
		return ""
	}
	return d.Claim.Name
}

func timeoutOf(backup *velerov1.Backup) time.Duration {
	if timeout := backup.Spec.ItemOperationTimeout.Duration; timeout > 0 {
		return timeout
	}
	return defaultTimeout
}

// source identifies the data of a volume in one backup: see contract.BackupVolumeName.
func (r *request) source(d selection.Decision) string {
	if d.Take && d.Claim != nil {
		return string(d.Claim.UID)
	}
	return string(r.pod.UID) + "/" + d.Volume
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package reprovision

import (
	"fmt"

	"github.com/sirupsen/logrus"
	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	"github.com/vmware-tanzu/velero/pkg/plugin/velero"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/plugins/internal/cluster"
)

// RestoreAction implements Velero's RestoreItemAction v2.
type RestoreAction struct {
	log     logrus.FieldLogger
	cluster *cluster.Cluster
}

// NewRestoreAction returns the action for restores.
func NewRestoreAction(log logrus.FieldLogger, c *cluster.Cluster) *RestoreAction {
	return &RestoreAction{log: log, cluster: c}
}

// Name returns the name that the action is registered under.
func (a *RestoreAction) Name() string { return PluginName }

// AppliesTo selects claims and volumes.
func (a *RestoreAction) AppliesTo() (velero.ResourceSelector, error) {
	return velero.ResourceSelector{IncludedResources: []string{"persistentvolumeclaims", "persistentvolumes"}}, nil
}

// Execute leaves a marked volume out and takes from a marked claim what binds it to one. A claim that gets a fresh
// volume becomes an operation, which fails if no pod comes with its content.
func (a *RestoreAction) Execute(
	input *velero.RestoreItemActionExecuteInput,
) (*velero.RestoreItemActionExecuteOutput, error) {
	item := &unstructured.Unstructured{Object: runtime.DeepCopyJSON(input.Item.UnstructuredContent())}
	original := unstructured.Unstructured{Object: input.ItemFromBackup.UnstructuredContent()}
	_, marked := original.GetAnnotations()[contract.AnnotationReprovision]
	output := velero.NewRestoreItemActionExecuteOutput(item)
	if marked && item.GetKind() == kindClaim && ephemeral(&original) {
		a.log.Infof("PersistentVolumeClaim %s/%s is not restored: it is that of an ephemeral volume, and Kubernetes "+
			"makes it again for the restored pod, into which restic restores its content",
			item.GetNamespace(), item.GetName())
		return output.WithoutRestore(), nil
	}
	if marked && item.GetKind() == kindVolume {
		a.log.Infof("PersistentVolume %s is not restored: the claim that it was bound to gets a fresh one, "+
			"into which restic restores its content", item.GetName())
		return output.WithoutRestore(), nil
	}
	clean(item)
	if item.GetKind() != kindClaim {
		return output, nil
	}
	namespace := original.GetNamespace()
	if mapped, isMapped := input.Restore.Spec.NamespaceMapping[namespace]; isMapped {
		namespace = mapped
	}
	fresh, err := a.claim(item, namespace, marked)
	if err != nil || !fresh {
		return output, err
	}
	return output.WithOperationID(operationID(namespace, item.GetName())), nil
}

// ephemeral says whether the claim is that of a generic ephemeral volume. Only the pod that owns it may use it
// (Kubernetes v1.36, staging/src/k8s.io/component-helpers/storage/ephemeral/ephemeral.go, VolumeIsForPod), and a
// restored claim has no owner.
func ephemeral(claim *unstructured.Unstructured) bool {
	owner := metav1.GetControllerOf(claim)
	return owner != nil && owner.Kind == "Pod"
}

// claim prepares a claim for the namespace that it is restored into, and says whether it gets a fresh volume. One that
// is there already keeps its binding: Velero compares it with what is restored, and may change it to that. For the same
// reason it keeps its label, and the name of its volume where the backup has none.
func (a *RestoreAction) claim(item *unstructured.Unstructured, namespace string, marked bool) (fresh bool, err error) {
	var live corev1.PersistentVolumeClaim
	err = a.cluster.Get(namespace, item.GetName(), &live)
	if err != nil && !apierrors.IsNotFound(err) {
		return false, fmt.Errorf("looking whether PersistentVolumeClaim %s/%s exists: %w",
			namespace, item.GetName(), err)
	}
	if err == nil {
		return false, keep(item, &live)
	}
	if marked {
		unbind(item)
	}
	return marked, nil
}

// keep gives the claim what the live one has.
func keep(item *unstructured.Unstructured, live *corev1.PersistentVolumeClaim) error {
	if value, labeled := live.Labels[contract.LabelClaimed]; labeled {
		labels := item.GetLabels()
		if labels == nil {
			labels = map[string]string{}
		}
		labels[contract.LabelClaimed] = value
		item.SetLabels(labels)
	}
	name, _, _ := unstructured.NestedString(item.Object, "spec", "volumeName")
	if name != "" || live.Spec.VolumeName == "" {
		return nil
	}
	if err := unstructured.SetNestedField(item.Object, live.Spec.VolumeName, "spec", "volumeName"); err != nil {
		return fmt.Errorf("setting the volume of PersistentVolumeClaim %s/%s: %w", live.Namespace, live.Name, err)
	}
	return nil
}

// unbind takes from a claim what binds it to a volume, or to the node on which that was made.
func unbind(claim *unstructured.Unstructured) {
	unstructured.RemoveNestedField(claim.Object, "spec", "volumeName")
	annotations := claim.GetAnnotations()
	for _, key := range []string{
		"pv.kubernetes.io/bind-completed", "pv.kubernetes.io/bound-by-controller",
		"volume.kubernetes.io/selected-node",
		"volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner",
	} {
		delete(annotations, key)
	}
	if annotations != nil {
		claim.SetAnnotations(annotations)
	}
}

// AreAdditionalItemsReady is true: the action returns none.
func (a *RestoreAction) AreAdditionalItemsReady([]velero.ResourceIdentifier, *velerov1.Restore) (bool, error) {
	return true, nil
}

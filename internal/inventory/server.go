// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package inventory

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	appsv1 "k8s.io/api/apps/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/coverage"
)

// Coverage: where backups put snapshots.
//
// +kubebuilder:rbac:groups=velero.io,resources=volumesnapshotlocations,verbs=list,namespace=velero

// readServer reads what backups depend on besides their spec. Objects that do not exist have no effect in Velero
// either.
func readServer(ctx context.Context, c client.Client, namespace string) (*coverage.Server, error) {
	server := &coverage.Server{}
	arguments, err := serverArguments(ctx, c, namespace)
	if err != nil {
		return nil, err
	}
	if err := server.ReadArguments(arguments); err != nil {
		return nil, err
	}
	if server.AdmittedPolicies, err = admittedPolicies(ctx, c); err != nil {
		return nil, err
	}
	if server.SnapshotClasses, err = snapshotClasses(ctx, c); err != nil {
		return nil, err
	}
	if server.Provisioners, err = provisioners(ctx, c); err != nil {
		return nil, err
	}
	if server.StorageLocations, err = storageLocations(ctx, c, namespace); err != nil {
		return nil, err
	}
	locations := &velerov1.VolumeSnapshotLocationList{}
	if err := c.List(ctx, locations, client.InNamespace(namespace)); err != nil {
		return nil, fmt.Errorf("listing volumesnapshotlocations: %w", err)
	}
	for i := range locations.Items {
		location := &locations.Items[i]
		server.SnapshotLocations = append(server.SnapshotLocations,
			coverage.SnapshotLocation{Name: location.Name, Provider: location.Spec.Provider})
	}
	return server, nil
}

// Coverage: Velero finds a claim's CSI driver by the storage class.
//
// +kubebuilder:rbac:groups=storage.k8s.io,resources=storageclasses,verbs=list

// provisioners maps the names of StorageClasses to their provisioners.
func provisioners(ctx context.Context, c client.Client) (map[string]string, error) {
	list := &storagev1.StorageClassList{}
	if err := c.List(ctx, list); err != nil {
		return nil, fmt.Errorf("listing storageclasses: %w", err)
	}
	found := map[string]string{}
	for i := range list.Items {
		found[list.Items[i].Name] = list.Items[i].Provisioner
	}
	return found, nil
}

// storageLocations returns the BackupStorageLocations, without the status that Velero updates every minute.
func storageLocations(ctx context.Context, c client.Client, namespace string) ([]coverage.StorageLocation, error) {
	list := &velerov1.BackupStorageLocationList{}
	if err := c.List(ctx, list, client.InNamespace(namespace)); err != nil {
		return nil, fmt.Errorf("listing backupstoragelocations: %w", err)
	}
	var locations []coverage.StorageLocation
	for i := range list.Items {
		location := &list.Items[i]
		locations = append(locations, coverage.StorageLocation{
			Name: location.Name, Default: location.Spec.Default,
			ReadOnly: location.Spec.AccessMode == velerov1.BackupStorageLocationAccessModeReadOnly,
			Phase:    location.Status.Phase,
		})
	}
	return locations, nil
}

// Coverage: the flags of Velero's server are the defaults of backups.
//
// +kubebuilder:rbac:groups=apps,resources=deployments,resourceNames=velero,verbs=get,namespace=velero

// serverArguments returns the arguments of Velero's server, from the Deployment that `velero install` creates.
func serverArguments(ctx context.Context, c client.Client, namespace string) ([]string, error) {
	deployment := &appsv1.Deployment{}
	err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: contract.VeleroDeployment}, deployment)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("getting deployment %s/%s: %w", namespace, contract.VeleroDeployment, err)
	}
	for i := range deployment.Spec.Template.Spec.Containers {
		container := &deployment.Spec.Template.Spec.Containers[i]
		words := slices.Concat(container.Command, container.Args)
		if at := slices.Index(words, "server"); at >= 0 {
			return words[at+1:], nil
		}
	}
	return nil, nil
}

// find returns an object of a kind that may not be installed; nil if there is none.
func find(
	ctx context.Context, c client.Client, kind schema.GroupKind, name string,
) (*unstructured.Unstructured, error) {
	mapping, err := c.RESTMapper().RESTMapping(kind)
	if meta.IsNoMatchError(err) {
		return nil, nil //nolint:nilnil // the kind is not installed
	}
	if err != nil {
		return nil, fmt.Errorf("looking for the kind %s: %w", kind.Kind, err)
	}
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(mapping.GroupVersionKind)
	if err := c.Get(ctx, client.ObjectKey{Name: name}, object); apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // it does not exist
	} else if err != nil {
		return nil, fmt.Errorf("getting %s %s: %w", strings.ToLower(kind.Kind), name, err)
	}
	return object, nil
}

// policyName returns the name of the ConfigMap in the expression of the admission policy; "" without one.
func policyName(expression string) string {
	found := regexp.MustCompile(`name:\s*"([^"]+)"`).FindStringSubmatch(expression)
	if !strings.Contains(expression, "/spec/resourcePolicy") || found == nil {
		return ""
	}
	return found[1]
}

// Coverage: whether backups without volume policies get the one of this project.
//
// +kubebuilder:rbac:groups=admissionregistration.k8s.io,resources=mutatingadmissionpolicies;mutatingadmissionpolicybindings,resourceNames=velero-restic-volume-policy,verbs=get

// admittedPolicies returns the ConfigMap of volume policies that the admission policy of examples/base adds to backups
// without policies; "" if the policy is not in effect.
func admittedPolicies(ctx context.Context, c client.Client) (string, error) {
	kind := schema.GroupKind{Group: "admissionregistration.k8s.io", Kind: "MutatingAdmissionPolicyBinding"}
	binding, err := find(ctx, c, kind, contract.AdmissionPolicy)
	if err != nil || binding == nil {
		return "", err
	}
	kind.Kind = "MutatingAdmissionPolicy"
	policy, err := find(ctx, c, kind, contract.AdmissionPolicy)
	if err != nil || policy == nil {
		return "", err
	}
	mutations, _, err := unstructured.NestedSlice(policy.Object, "spec", "mutations")
	if err != nil {
		return "", fmt.Errorf("reading mutatingadmissionpolicy %s: %w", contract.AdmissionPolicy, err)
	}
	for _, mutation := range mutations {
		fields, _ := mutation.(map[string]any)
		expression, _, err := unstructured.NestedString(fields, "jsonPatch", "expression")
		if err != nil {
			return "", fmt.Errorf("reading mutatingadmissionpolicy %s: %w", contract.AdmissionPolicy, err)
		}
		if name := policyName(expression); name != "" {
			return name, nil
		}
	}
	return "", nil
}

// Coverage: whether a CSI driver's volumes can be snapshotted.
//
// +kubebuilder:rbac:groups=snapshot.storage.k8s.io,resources=volumesnapshotclasses,verbs=list

// snapshotClasses returns the VolumeSnapshotClasses; none if the kind is not installed.
func snapshotClasses(ctx context.Context, c client.Client) ([]coverage.SnapshotClass, error) {
	kind := schema.GroupKind{Group: "snapshot.storage.k8s.io", Kind: "VolumeSnapshotClass"}
	mapping, err := c.RESTMapper().RESTMapping(kind)
	if meta.IsNoMatchError(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for the kind %s: %w", kind.Kind, err)
	}
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(mapping.GroupVersionKind)
	if err := c.List(ctx, list); err != nil {
		return nil, fmt.Errorf("listing volumesnapshotclasses: %w", err)
	}
	var classes []coverage.SnapshotClass
	for i := range list.Items {
		item := &list.Items[i]
		driver, _, err := unstructured.NestedString(item.Object, "driver")
		if err != nil {
			return nil, fmt.Errorf("reading volumesnapshotclass %s: %w", item.GetName(), err)
		}
		_, labeled := item.GetLabels()[velerov1.VolumeSnapshotClassSelectorLabel]
		_, isDefault := item.GetAnnotations()[velerov1.VolumeSnapshotClassKubernetesAnnotation]
		classes = append(classes, coverage.SnapshotClass{
			Name: item.GetName(), Driver: driver, Preferred: labeled || isDefault,
		})
	}
	return classes, nil
}

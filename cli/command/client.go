// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package command

import (
	"fmt"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
)

// NewScheme returns the kinds that the commands know: Kubernetes' own, Velero's and ours.
func NewScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		clientgoscheme.AddToScheme, velerov1.AddToScheme, resticv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("registering kinds: %w", err)
		}
	}
	return scheme, nil
}

// newClient knows the kinds' resources by itself, so that a command costs one request where discovery would cost
// several, and a kind that is not installed is told from one that the user may not discover.
func newClient(config *rest.Config) (client.WithWatch, error) {
	scheme, err := NewScheme()
	if err != nil {
		return nil, err
	}
	return client.NewWithWatch(config, client.Options{Scheme: scheme, Mapper: mapper(scheme)})
}

// clusterScoped are the kinds without a namespace that commands may want.
func clusterScoped() sets.Set[string] {
	return sets.New("Namespace", "Node", "PersistentVolume", "StorageClass", "CSIDriver", "ClusterRole",
		"ClusterRoleBinding", "SelfSubjectAccessReview", "SelfSubjectReview")
}

// mapper names the resources of all kinds by Kubernetes' rule.
func mapper(scheme *runtime.Scheme) meta.RESTMapper {
	cluster, m := clusterScoped(), meta.NewDefaultRESTMapper(nil)
	for kind := range scheme.AllKnownTypes() {
		scope := meta.RESTScopeNamespace
		if cluster.Has(kind.Kind) {
			scope = meta.RESTScopeRoot
		}
		m.Add(kind, scope)
	}
	return m
}

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

// NewScheme returns the kinds of Kubernetes, Velero and this project.
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

// newClient creates a client without discovery. This saves requests, and a missing kind gives another error than
// missing permission to discover it.
func newClient(config *rest.Config) (client.WithWatch, error) {
	scheme, err := NewScheme()
	if err != nil {
		return nil, err
	}
	return client.NewWithWatch(config, client.Options{Scheme: scheme, Mapper: mapper(scheme)})
}

// clusterScoped are the cluster-scoped kinds that commands use.
func clusterScoped() sets.Set[string] {
	return sets.New("Namespace", "Node", "PersistentVolume", "StorageClass", "CSIDriver", "ClusterRole",
		"ClusterRoleBinding", "SelfSubjectAccessReview", "SelfSubjectReview")
}

// mapper maps all kinds to resources by the naming convention of Kubernetes.
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

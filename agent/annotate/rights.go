// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package annotate

import (
	"context"
	"fmt"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// RBAC has no smaller right than to patch the whole pod. A ValidatingAdmissionPolicy limits it to two annotations.
//
// +kubebuilder:rbac:groups="",resources=pods,verbs=patch

// CheckRights returns an error that names what the agent may not do and needs to annotate pods. Asked first,
// it is one message instead of one a pod.
func CheckRights(ctx context.Context, c client.Client, namespace string) error {
	for _, needed := range []authorizationv1.ResourceAttributes{
		{Resource: "configmaps", Verb: "list", Namespace: namespace},
		{Resource: "configmaps", Verb: "watch", Namespace: namespace},
		{Resource: "pods", Verb: "list"},
		{Resource: "pods", Verb: "watch"},
		{Resource: "pods", Verb: "patch"},
		{Resource: "persistentvolumeclaims", Verb: "list"},
		{Resource: "persistentvolumeclaims", Verb: "watch"},
		{Resource: "persistentvolumes", Verb: "list"},
		{Resource: "persistentvolumes", Verb: "watch"},
	} {
		review := &authorizationv1.SelfSubjectAccessReview{
			Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: ptr.To(needed)},
		}
		if err := c.Create(ctx, review); err != nil {
			return fmt.Errorf("asking whether the agent may %s %s: %w", needed.Verb, needed.Resource, err)
		}
		if !review.Status.Allowed {
			return fmt.Errorf("--annotate-pods is set and the agent may not %s %s%s: apply "+
				"examples/base with examples/component/annotate, which have its rights",
				needed.Verb, needed.Resource, inNamespace(needed.Namespace))
		}
	}
	return nil
}

func inNamespace(namespace string) string {
	if namespace == "" {
		return " of all namespaces"
	}
	return " of namespace " + namespace
}

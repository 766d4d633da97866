// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package volumerule

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Kinds whose names have that of what made them in it.
const (
	kindReplicaSet = "ReplicaSet"
	kindDeployment = "Deployment"
	kindJob        = "Job"
	kindCronJob    = "CronJob"
)

// ownerKinds are the kinds of Kubernetes' own that a pod belongs to. Those of others cannot be known here.
func ownerKinds() []string {
	return []string{
		kindJob, kindReplicaSet, "StatefulSet", "DaemonSet", "ReplicationController", "Node",
		kindDeployment, kindCronJob,
	}
}

// checkOwnerKind refuses kinds that are misspelled, so that no rule waits for one in vain.
func checkOwnerKind(kind string) error {
	known := ownerKinds()
	if slices.Contains(known, kind) {
		return nil
	}
	for _, right := range known {
		if strings.EqualFold(kind, right) || strings.EqualFold(kind, right+"s") {
			return fmt.Errorf("%q is no kind: write %s", kind, right)
		}
	}
	switch {
	case kind == "":
		return errors.New("it is empty: write one such as StatefulSet or Job")
	case kind[0] < 'A' || kind[0] > 'Z':
		return fmt.Errorf("%q is no kind, which begins with a capital: write one such as StatefulSet or Job", kind)
	}
	return nil
}

// owner is a kind of a pod's owner, and its names.
type owner struct {
	kind  string
	names globs
}

func (o owner) is(kind, name string) bool {
	return o.kind == kind && (len(o.names) == 0 || o.names.match(name))
}

// meetsOwner looks at all owners of the pod, those that manage it and others, and at what made these.
func (r *rule) meetsOwner(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.OwnerReferences, func(reference metav1.OwnerReference) bool {
		return slices.ContainsFunc(r.owners, func(o owner) bool {
			return o.is(reference.Kind, reference.Name) || o.is(makerOf(pod, reference))
		})
	})
}

// makerOf returns kind and name of what made an owner of the pod, both empty where there is nothing. It goes by names
// and labels, since rules look at no objects but those of the volume:
//   - a Deployment's ReplicaSet is named after it and the hash of the pod's template, which is a label of the pod, too
//     (Kubernetes v1.36.3, pkg/controller/deployment/sync.go, getNewReplicaSet);
//   - a CronJob's Job is named after it and the minute that it was due
//     (pkg/controller/cronjob/cronjob_controllerv2.go, getJobName).
func makerOf(pod *corev1.Pod, reference metav1.OwnerReference) (kind, name string) {
	switch reference.Kind {
	case kindReplicaSet:
		hash := pod.Labels[appsv1.DefaultDeploymentUniqueLabelKey]
		if name, found := strings.CutSuffix(reference.Name, "-"+hash); found && hash != "" {
			return kindDeployment, name
		}
	case kindJob:
		at := strings.LastIndexByte(reference.Name, '-')
		if at > 0 && isMinute(reference.Name[at+1:]) {
			return kindCronJob, reference.Name[:at]
		}
	}
	return "", ""
}

// isMinute tells a time in minutes since 1970 from other numbers at the end of a Job's name: those that a person has
// counted, dates such as 20260315, and seconds. It is later than Kubernetes 1.21, which brought minutes, in April 2021,
// and has eight digits until 2160.
func isMinute(digits string) bool {
	const april2021, length = "26900000", 8
	return len(digits) == length && strings.Trim(digits, "0123456789") == "" && digits >= april2021
}

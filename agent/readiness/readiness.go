// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package readiness has the checks of the agent's readiness probe.
package readiness

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/velero-restic/velero-plugin-for-restic/agent/hostpath"
)

// PodsFound is ready if the pods of this node are where the kubelet's directory of pods is mounted: a wrong path in the
// DaemonSet is to be seen before the first backup, not in it.
func PodsFound(mgr manager.Manager, finder hostpath.Finder) healthz.Checker {
	return func(request *http.Request) error {
		pods := &corev1.PodList{}
		if err := mgr.GetClient().List(request.Context(), pods); err != nil {
			return fmt.Errorf("listing this node's pods: %w", err)
		}
		uids := make([]string, 0, len(pods.Items))
		for i := range pods.Items {
			uids = append(uids, string(pods.Items[i].UID))
		}
		err := finder.PodVolumesRootOK(uids)
		if err != nil {
			ctrl.Log.Error(err, "Looking for this node's pods")
		}
		return err
	}
}

// CachesSynced is ready once the caches are filled: only then does the agent take work up.
func CachesSynced(mgr manager.Manager) healthz.Checker {
	return func(request *http.Request) error {
		ctx, cancel := context.WithTimeout(request.Context(), time.Second)
		defer cancel()
		if !mgr.GetCache().WaitForCacheSync(ctx) {
			return errors.New("the caches are not filled yet")
		}
		return nil
	}
}

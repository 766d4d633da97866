// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package version

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/ptr"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// pluginImage is in the name of every image of the plugin.
const pluginImage = "velero-plugin-for-restic"

// ask fills in what the cluster knows.
func (v *viewer) readCluster(ctx context.Context, r *report) error {
	api, err := v.env.Client()
	if err != nil {
		return err
	}
	server := &appsv1.Deployment{}
	key := kube.ObjectKey{Namespace: v.env.Namespace(), Name: contract.VeleroDeployment}
	if err := api.Get(ctx, key, server); err == nil {
		r.Velero, r.Plugin = imagesOf(server)
	} else if !apierrors.IsNotFound(err) {
		return fmt.Errorf("looking for Velero: %w", err)
	}
	pods := &corev1.PodList{}
	if err := api.List(ctx, pods, kube.InNamespace(key.Namespace),
		kube.MatchingLabels{contract.AgentLabelKey: contract.AgentLabelValue}); err != nil {
		return fmt.Errorf("listing the agents' pods: %w", err)
	}
	leases := &coordinationv1.LeaseList{}
	if err := api.List(ctx, leases, kube.InNamespace(key.Namespace)); err != nil {
		return fmt.Errorf("listing the agents' Leases: %w", err)
	}
	for i := range pods.Items {
		r.Agents = append(r.Agents, agentOf(&pods.Items[i], leases.Items))
	}
	slices.SortFunc(r.Agents, func(a, b agent) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Pod, b.Pod))
	})
	return nil
}

// imagesOf returns Velero's and the plugin's, which is an init container of its pod.
func imagesOf(server *appsv1.Deployment) (velero, plugin *image) {
	spec := &server.Spec.Template.Spec
	for i := range spec.Containers {
		if spec.Containers[i].Name == contract.VeleroDeployment {
			velero = imageOf(spec.Containers[i].Image)
		}
	}
	for i := range spec.InitContainers {
		if strings.Contains(spec.InitContainers[i].Image, pluginImage) {
			plugin = imageOf(spec.InitContainers[i].Image)
		}
	}
	return velero, plugin
}

// imageOf splits the tag off a reference: host:port/path:tag@digest, of which all but the path may be missing.
func imageOf(reference string) *image {
	path, _, _ := strings.Cut(reference, "@")
	name := path[strings.LastIndex(path, "/")+1:]
	_, tag, _ := strings.Cut(name, ":")
	return &image{Image: reference, Version: tag}
}

func agentOf(pod *corev1.Pod, leases []coordinationv1.Lease) agent {
	a := agent{Pod: pod.Name, Node: pod.Spec.NodeName}
	for i := range pod.Spec.Containers {
		if pod.Spec.Containers[i].Name == contract.DaemonSetName {
			a.Image = pod.Spec.Containers[i].Image
		}
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			a.Ready = condition.Status == corev1.ConditionTrue
		}
	}
	for i := range leases {
		lease := &leases[i]
		switch lease.Name {
		case contract.LeaderLeaseName:
			a.Leader = a.Node != "" && ptr.Deref(lease.Spec.HolderIdentity, "") == a.Node
		case pod.Name:
			a.Version = lease.Annotations[contract.AnnotationVersion]
			a.Restic = lease.Annotations[contract.AnnotationResticVersion]
		}
	}
	return a
}

// findMismatches adds warnings about missing components and different versions. After a failure it adds none.
func (r *report) findMismatches(namespace string, failure error) {
	warn := func(format string, args ...any) { r.Warnings = append(r.Warnings, fmt.Sprintf(format, args...)) }
	if failure != nil {
		return
	}
	if r.Velero == nil {
		warn("there is no Velero in namespace %s: select its namespace with -n", namespace)
	} else if r.Plugin == nil {
		warn("Velero has no plugin for restic: velero plugin add velero/velero-plugin-for-restic:%s", r.Client.Version)
	}
	if len(r.Agents) == 0 {
		warn("there are no agents in namespace %s: kubectl apply -k examples/base", namespace)
	}
	groups := grouped(r.Agents)
	for _, group := range groups {
		switch {
		case group.version == "":
			warn("%s: no version is known yet: is the agent running? kubectl -n %s get pods",
				strings.Join(group.pods, ", "), namespace)
		case group.version != r.Client.Version:
			warn("agents run %s, this program is %s: use the same release", group.version, r.Client.Version)
		}
		if r.Plugin != nil && r.Plugin.Version != "" && group.version != "" && r.Plugin.Version != group.version {
			warn("the plugin is %s, agents run %s: they must be of the same release", r.Plugin.Version, group.version)
		}
	}
	if len(groups) > 1 {
		warn("the agents differ: see kubectl -n %s rollout status daemonset/%s", namespace, contract.DaemonSetName)
	}
}

// group is the agents of one build.
type group struct {
	version, restic, leader string
	pods                    []string
	ready                   int
}

// grouped returns the builds, those with most pods first.
func grouped(agents []agent) []group {
	var groups []group
	for _, a := range agents {
		i := slices.IndexFunc(groups, func(g group) bool { return g.version == a.Version && g.restic == a.Restic })
		if i < 0 {
			i, groups = len(groups), append(groups, group{version: a.Version, restic: a.Restic})
		}
		g := &groups[i]
		g.pods = append(g.pods, a.Pod)
		if a.Ready {
			g.ready++
		}
		if a.Leader {
			g.leader = a.Node
		}
	}
	slices.SortStableFunc(groups, func(a, b group) int { return cmp.Compare(len(b.pods), len(a.pods)) })
	return groups
}

func (g group) text() string {
	text := fmt.Sprintf("restic %s, %d of %d pods ready", orUnknown(g.restic), g.ready, len(g.pods))
	if g.leader != "" {
		text += ", node " + g.leader + " leads"
	}
	return text
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package scale

import (
	"context"
	"fmt"
	"strconv"
	"time"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/coverage"
	"github.com/velero-restic/velero-plugin-for-restic/internal/selection"
	"github.com/velero-restic/velero-plugin-for-restic/test/apiserver"
)

// The size of the cluster: 100 namespaces of 100 claims and 100 pods.
const (
	namespaces = 100
	slots      = 100
	claims     = namespaces * slots
	nodes      = 200

	veleroNamespace = "velero"
	policyName      = "volume-policy"
	rulesName       = "volume-rules"
	workers         = 8
	// backups is how many Backups of Velero there are: 50 schedules, a month of each.
	backups = 50 * 30
)

// kind is what a run of slots in each namespace is like, and what is to be told of their claims.
type kind struct {
	until int // the first slot that is not of the kind
	// asked names the volume in the pod's annotation, gold gives the pod the label that some schedules select by.
	asked, gold bool
	// snapshots gives the claim a volume that a provider's plugin can snapshot.
	snapshots bool
	// apart leaves the claim without a pod, unmounted leaves the pod's containers without the volume.
	apart, unmounted bool
	pending, ignored bool
	// ruled gives the claim a label that the rules include.
	ruled bool
	// history is how long ago the claim's backups were, the last one first, and whether that one failed.
	history []time.Duration
	failed  bool

	method coverage.Method
	reason coverage.Reason
}

func daily(first time.Duration) []time.Duration {
	return []time.Duration{first, first + 24*time.Hour, first + 48*time.Hour}
}

func kinds() []kind {
	const restic, snapshot = coverage.MethodRestic, coverage.MethodSnapshot
	return []kind{
		{until: 15, asked: true, history: daily(time.Hour), method: restic},
		{until: 18, asked: true, history: daily(time.Hour), failed: true, method: restic, reason: coverage.ReasonLastFailed},
		{until: 20, asked: true, history: daily(90 * 24 * time.Hour), method: restic, reason: coverage.ReasonStale},
		{until: 40, asked: true, method: restic, reason: coverage.ReasonNeverSucceeded},
		{until: 55, gold: true, method: restic, reason: coverage.ReasonNeverSucceeded},
		{until: 80, snapshots: true, method: snapshot},
		{until: 85, asked: true, pending: true, reason: coverage.Reason(selection.ReasonPodNotRunning)},
		{until: 90, asked: true, unmounted: true, reason: coverage.Reason(selection.ReasonNotMounted)},
		{until: 93, ignored: true, reason: coverage.ReasonIgnored},
		{until: 96, reason: coverage.Reason(selection.ReasonNotAsked)},
		{until: 98, ruled: true, method: restic, reason: coverage.ReasonNeverSucceeded},
		{until: slots, apart: true, reason: coverage.ReasonUnmounted},
	}
}

func kindOf(slot int) kind {
	for _, k := range kinds() {
		if slot < k.until {
			return k
		}
	}
	panic("there is no slot " + strconv.Itoa(slot))
}

func namespaceName(i int) string { return fmt.Sprintf("team-%d-%d", i/10, i%10) }
func claimName(slot int) string  { return fmt.Sprintf("data-app-%02d", slot) }
func podName(slot int) string    { return fmt.Sprintf("app-%02d", slot) }
func nodeName(i int) string      { return fmt.Sprintf("node-%03d", i%nodes) }

// fill makes what is few through the API server, and loads the rest.
func fill(ctx context.Context, c client.Client, api *apiserver.Server) error {
	var first []client.Object
	for i := range namespaces {
		first = append(first, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespaceName(i)}})
	}
	first = append(first, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: veleroNamespace}})
	for i := range nodes {
		first = append(first, &corev1.Node{ObjectMeta: metav1.ObjectMeta{
			Name: nodeName(i), Labels: map[string]string{corev1.LabelOSStable: "linux"},
		}})
	}
	if err := createAll(ctx, c, first); err != nil {
		return err
	}
	if err := createAll(ctx, c, veleroObjects()); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	group.Go(func() error { return api.Load(ctx, c.Scheme(), veleroBackups()) })
	for i := range namespaces {
		group.Go(func() error {
			var objects []client.Object
			for slot := range slots {
				objects = append(objects, slotObjects(i, slot)...)
			}
			return api.Load(ctx, c.Scheme(), objects)
		})
	}
	return group.Wait()
}

func createAll(ctx context.Context, c client.Client, objects []client.Object) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	for _, object := range objects {
		group.Go(func() error { return create(ctx, c, object) })
	}
	return group.Wait()
}

func create(ctx context.Context, c client.Client, object client.Object) error {
	if err := c.Create(ctx, object); err != nil {
		return fmt.Errorf("creating %T %s/%s: %w", object, object.GetNamespace(), object.GetName(), err)
	}
	return nil
}

// slotObjects returns a claim with its volume, the pod that uses it, and its backups.
func slotObjects(namespace, slot int) []client.Object {
	k := kindOf(slot)
	claim, pod := newClaim(namespace, slot, k), newPod(namespace, slot, k)
	objects := []client.Object{newVolume(namespace, slot, k), claim, pod}
	for i := range k.history {
		objects = append(objects, newBackup(claim, pod, k, i))
	}
	return objects
}

// veleroBackups are those of the claims' histories, and as many more as there are with 50 schedules.
func veleroBackups() []client.Object {
	var objects []client.Object
	for i := range backups {
		name := "backup-" + strconv.Itoa(i)
		objects = append(objects, &velerov1.Backup{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: veleroNamespace, Name: name, UID: types.UID(name), ManagedFields: managed(),
				Labels: map[string]string{velerov1.ScheduleNameLabel: "nightly-" + strconv.Itoa(i%10)},
			},
			Spec: velerov1.BackupSpec{
				IncludedNamespaces: []string{"team-*"}, StorageLocation: "default", TTL: metav1.Duration{Duration: 720 * time.Hour},
			},
			Status: velerov1.BackupStatus{
				Phase: velerov1.BackupPhaseCompleted, FormatVersion: "1.1.0",
				Progress: &velerov1.BackupProgress{TotalItems: claims, ItemsBackedUp: claims},
			},
		})
	}
	return objects
}

// veleroObjects are what somebody has set up: storage, policies, rules and 50 schedules.
func veleroObjects() []client.Object {
	velero := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: veleroNamespace, Name: name}
	}
	rules := &corev1.ConfigMap{ObjectMeta: velero(rulesName), Data: map[string]string{"rules.yaml": rulesText}}
	rules.Labels = map[string]string{contract.LabelPluginConfig: "", contract.LabelPluginName: "BackupItemAction"}
	objects := []client.Object{
		&corev1.ConfigMap{ObjectMeta: velero(policyName), Data: map[string]string{"policies.yaml": policiesText}},
		rules,
		&velerov1.BackupStorageLocation{ObjectMeta: velero("default"), Spec: velerov1.BackupStorageLocationSpec{
			Provider: "aws", Default: true,
			StorageType: velerov1.StorageType{ObjectStorage: &velerov1.ObjectStorageLocation{Bucket: "backups"}},
		}, Status: velerov1.BackupStorageLocationStatus{Phase: velerov1.BackupStorageLocationPhaseAvailable}},
		&velerov1.VolumeSnapshotLocation{
			ObjectMeta: velero("default"), Spec: velerov1.VolumeSnapshotLocationSpec{Provider: "aws"},
		},
	}
	for i := range 10 {
		for _, schedule := range schedules(strconv.Itoa(i)) {
			objects = append(objects, schedule)
		}
	}
	return objects
}

// schedules are the five of one team: most namespaces are reached by four that run and one that is paused.
func schedules(i string) []*velerov1.Schedule {
	schedule := func(name, cron string, spec velerov1.BackupSpec) *velerov1.Schedule {
		spec.ResourcePolicy = &corev1.TypedLocalObjectReference{Kind: "configmap", Name: policyName}
		return &velerov1.Schedule{
			ObjectMeta: metav1.ObjectMeta{Namespace: veleroNamespace, Name: name + "-" + i},
			Spec:       velerov1.ScheduleSpec{Schedule: cron, Template: spec},
		}
	}
	yes, no := true, false
	app := func(value string) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchLabels: map[string]string{"app": value}}
	}
	paused := schedule("paused", "@every 12h", velerov1.BackupSpec{
		IncludedNamespaces: []string{"team-*-" + i}, ExcludedNamespaces: []string{"team-0-*"},
	})
	paused.Spec.Paused = true
	return []*velerov1.Schedule{
		schedule("nightly", "0 3 * * *", velerov1.BackupSpec{IncludedNamespaces: []string{"team-" + i + "-*"}}),
		schedule("gold", "0 */6 * * *", velerov1.BackupSpec{
			IncludedNamespaces: []string{"team-" + i + "-*"}, DefaultVolumesToFsBackup: &yes,
			LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"tier": "gold"}},
		}),
		schedule("plain", "30 4 * * *", velerov1.BackupSpec{
			IncludedNamespaces: []string{"*-" + i}, SnapshotVolumes: &no,
		}),
		schedule("weekly", "0 5 * * 0", velerov1.BackupSpec{
			IncludedNamespaces: []string{"team-?-" + i},
			OrLabelSelectors:   []*metav1.LabelSelector{app("app-07"), app("app-70")},
		}),
		paused,
	}
}

const policiesText = `version: v1
volumePolicies:
- conditions:
    pvcLabels:
      restic.velero.io/backup: "true"
  action:
    type: custom
- conditions:
    volumeTypes: [emptyDir, ephemeral]
  action:
    type: custom
`

const rulesText = `rules:
- name: by-label
  action: include
  claimSelector:
    matchLabels:
      ruled: "yes"
`

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package inventory keeps the state of every PersistentVolumeClaim of a cluster. It watches the objects that package
// coverage evaluates, and reevaluates the claims that an event affects. The leading agent serves metrics from it, and
// the CLI reads it once.
package inventory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/coverage"
)

// Options configure an inventory.
type Options struct {
	// Namespace is the namespace of Velero.
	Namespace string
	// StaleAfter is the maximum age of the last success of a protected claim; 0 for two runs of its Schedule.
	StaleAfter time.Duration
	// ClaimsOnly omits pods without claims, and volumes with content from the API, to save memory. States do not depend
	// on these; Plan needs them.
	ClaimsOnly bool
	// Log receives errors of requests that are retried.
	Log logr.Logger
}

// serverInterval is how often the inventory reads the flags of Velero's server, the admission policy, and what can take
// snapshots.
const serverInterval = 30 * time.Second

// Inventory has the state of every claim after it has synced. Its methods are safe for concurrent use.
type Inventory struct {
	options    Options
	client     client.WithWatch
	readErrors *readErrors
	reflectors []*reflector
	// listed are true for reflectors that have read their first list.
	listed []*bool

	// mu guards the fields below.
	mu            sync.RWMutex
	clusterState  *clusterState
	configuration *configuration
	history       *history
	results       map[client.ObjectKey]coverage.Result
	synced        bool

	evaluations atomic.Uint64
}

// New creates an inventory of the cluster. It makes no API calls.
func New(config *rest.Config, options Options) (*Inventory, error) {
	if options.Namespace == "" {
		return nil, errors.New("the inventory needs the namespace of Velero")
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		clientgoscheme.AddToScheme, velerov1.AddToScheme, resticv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("registering kinds: %w", err)
		}
	}
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("building the client of the API server: %w", err)
	}
	w := newClusterState(options.Namespace)
	i := &Inventory{
		options: options, client: c, clusterState: w, configuration: newConfiguration(w),
		readErrors: &readErrors{log: options.Log, errors: map[string]error{}},
		results:    map[client.ObjectKey]coverage.Result{},
	}
	i.history = newHistory()
	i.addReflectors()
	return i, nil
}

// Start watches the cluster until the context ends. It retries forever; see WaitForSync and ReadError.
func (i *Inventory) Start(ctx context.Context) error {
	var all sync.WaitGroup
	for _, f := range i.reflectors {
		all.Go(func() { f.run(ctx, i.client, i.readErrors) })
	}
	all.Go(func() { i.watchServer(ctx) })
	i.decide(ctx)
	all.Wait()
	return nil
}

// WaitForSync waits until every claim has a state. It returns an error if the context ends first, or as soon as an
// object cannot be read for a permanent reason, such as a missing permission.
func (i *Inventory) WaitForSync(ctx context.Context) error {
	ticker := time.NewTicker(syncInterval)
	defer ticker.Stop()
	for !i.isSynced() {
		permanent, err := i.readErrors.first()
		if permanent {
			return fmt.Errorf("reading cluster state: %w", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("reading cluster state: %w", errors.Join(context.Cause(ctx), err))
		case <-ticker.C:
		}
	}
	return nil
}

// ReadError returns what currently cannot be read, so that states may be outdated; nil if everything can.
func (i *Inventory) ReadError() error {
	_, err := i.readErrors.first()
	return err
}

// Evaluations returns the number of evaluations of claims so far.
func (i *Inventory) Evaluations() uint64 { return i.evaluations.Load() }

func (i *Inventory) isSynced() bool {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.synced
}

// States returns the states of all claims at that time, sorted by namespace and name; nil before WaitForSync.
func (i *Inventory) States(now time.Time) []coverage.State {
	i.mu.RLock()
	defer i.mu.RUnlock()
	if !i.synced {
		return nil
	}
	states := make([]coverage.State, 0, len(i.results))
	staleness := coverage.NewStaleness(now, i.options.StaleAfter)
	staleness.InProgress = i.history.backups.running(now)
	for key, result := range i.results {
		claim := i.clusterState.claim(key)
		if claim == nil {
			continue
		}
		state := result.State(staleness, i.history.outcome(string(claim.UID)))
		state.Namespace, state.Claim = key.Namespace, key.Name
		states = append(states, state)
	}
	slices.SortFunc(states, func(a, b coverage.State) int {
		if sortedPlans := strings.Compare(a.Namespace, b.Namespace); sortedPlans != 0 {
			return sortedPlans
		}
		return strings.Compare(a.Claim, b.Claim)
	})
	return states
}

// decide evaluates claims that an event affects, until the context ends.
func (i *Inventory) decide(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-i.clusterState.woken:
		}
		for ctx.Err() == nil && i.decideNext() {
		}
	}
}

// decideNext evaluates one affected claim and the claims that are connected with it. It returns false if there is none.
func (i *Inventory) decideNext() bool {
	group, plans, more := i.next()
	if !more {
		return false
	}
	results := coverage.Decide(group, plans)
	i.evaluations.Add(uint64(len(results)))
	i.mu.Lock()
	defer i.mu.Unlock()
	for name, result := range results {
		key := client.ObjectKey{Namespace: group.Namespace, Name: name}
		if i.clusterState.claim(key) != nil {
			i.results[key] = result
		}
	}
	return true
}

// next takes a group from the affected claims. It returns false if there is none, or before every object was listed.
func (i *Inventory) next() (coverage.Group, []*coverage.Plan, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.complete() {
		return coverage.Group{}, nil, false
	}
	for key := range i.clusterState.dirty {
		group, gone := i.clusterState.group(key)
		for _, name := range gone {
			delete(i.results, client.ObjectKey{Namespace: key.Namespace, Name: name})
		}
		return group, i.configuration.sortedPlans, true
	}
	i.synced = true
	return coverage.Group{}, nil, false
}

// complete returns whether every kind was listed once.
func (i *Inventory) complete() bool {
	return i.configuration.server != nil && !slices.ContainsFunc(i.listed, func(listed *bool) bool { return !*listed })
}

// watchServer polls what Velero's server depends on. Polling is cheaper than watches for so few objects.
func (i *Inventory) watchServer(ctx context.Context) {
	for ctx.Err() == nil {
		server, err := readServer(ctx, i.client, i.options.Namespace)
		i.readErrors.record("read the configuration of Velero's server", err)
		pause := serverInterval
		if err == nil {
			i.mu.Lock()
			i.configuration.serverChanged(server)
			i.clusterState.notify()
			i.mu.Unlock()
		} else {
			pause = time.Second
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// Coverage: volume policies and rules are in ConfigMaps of any name.
//
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=list;watch,namespace=velero

// Coverage: which claims scheduled backups include, and whether these backups succeed.
//
// +kubebuilder:rbac:groups=velero.io,resources=schedules;backups,verbs=list;watch,namespace=velero

// Coverage: only names and labels, for which namespaces are left out of backups, and which nodes run Windows.
//
// +kubebuilder:rbac:groups="",resources=namespaces;nodes,verbs=list;watch

// Coverage: the claims, and the pods that use them.
//
// +kubebuilder:rbac:groups="",resources=pods;persistentvolumeclaims;persistentvolumes,verbs=list;watch

// addReflectors defines which objects are watched, and what their events change.
func (i *Inventory) addReflectors() {
	own := i.options.Namespace
	addObjectReflector(i, &reflector{
		what: "pods", example: &corev1.Pod{}, list: &corev1.PodList{},
	}, i.stripPod, i.clusterState.podChanged)
	addObjectReflector(i, &reflector{
		what:    "persistentvolumeclaims",
		example: &corev1.PersistentVolumeClaim{}, list: &corev1.PersistentVolumeClaimList{},
	}, always(StripClaim), i.clusterState.claimChanged)
	addObjectReflector(i, &reflector{
		what: "persistentvolumes", example: &corev1.PersistentVolume{}, list: &corev1.PersistentVolumeList{},
	}, always(StripVolume), i.clusterState.volumeChanged)
	addObjectReflector(i, metadataReflector("namespaces", "Namespace"), always(func(m *metav1.PartialObjectMetadata) {
		stripNamed(m, namespaceLabels()...)
	}), i.clusterState.namespaceChanged)
	addObjectReflector(i, metadataReflector("nodes", "Node"), always(func(m *metav1.PartialObjectMetadata) {
		stripNamed(m, corev1.LabelOSStable)
	}), i.clusterState.nodeChanged)
	addObjectReflector(i, &reflector{
		what: "schedules.velero.io", namespace: own, example: &velerov1.Schedule{}, list: &velerov1.ScheduleList{},
	}, always(stripSchedule), i.configuration.scheduleChanged)
	addObjectReflector(i, &reflector{
		what: "configmaps", namespace: own, example: &corev1.ConfigMap{}, list: &corev1.ConfigMapList{},
	}, always(stripConfigMap), i.configuration.configMapChanged)
	addIndexReflector(i, &reflector{
		what: "backups.velero.io", namespace: own, example: &velerov1.Backup{}, list: &velerov1.BackupList{},
	}, stripVeleroBackup, i.history.backups)
	addIndexReflector(i, &reflector{
		what: "podvolumebackups.restic.velero.io", namespace: own, example: &resticv1.PodVolumeBackup{},
		list: &resticv1.PodVolumeBackupList{},
	}, stripBackup, i.history)
}

// stripPod removes what is not needed of a pod, and returns whether the pod is needed.
func (i *Inventory) stripPod(pod *corev1.Pod) bool {
	StripPod(pod)
	if !i.options.ClaimsOnly {
		return true
	}
	DropContent(pod)
	return hasClaim(pod) || i.clusterState.isNodeAgent(pod)
}

func metadataReflector(what, kind string) *reflector {
	example, list := &metav1.PartialObjectMetadata{}, &metav1.PartialObjectMetadataList{}
	example.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind))
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind + "List"))
	return &reflector{what: what, example: example, list: list}
}

func always[T client.Object](strip func(T)) func(T) bool {
	return func(object T) bool {
		strip(object)
		return true
	}
}

// addObjectReflector adds a reflector that keeps objects.
func addObjectReflector[T client.Object](
	i *Inventory, f *reflector, strip func(T) bool, changed func(before, after T),
) {
	t := &objectStore[T]{mu: &i.mu, strip: strip, changed: changed, objects: map[client.ObjectKey]T{}}
	t.onListed = i.clusterState.notify
	f.store = t
	add(i, f, func(object T) { strip(object) }, &t.synced)
}

// addIndexReflector adds a reflector that keeps an index.
func addIndexReflector[T client.Object](i *Inventory, f *reflector, strip func(T), kept index[T]) {
	l := &indexStore[T]{mu: &i.mu, onListed: i.clusterState.notify, index: kept}
	f.store = l
	add(i, f, strip, &l.synced)
}

func add[T client.Object](i *Inventory, f *reflector, strip func(T), synced *bool) {
	f.strip = func(object runtime.Object) {
		if one, isOne := object.(T); isOne {
			strip(one)
		}
	}
	i.reflectors, i.listed = append(i.reflectors, f), append(i.listed, synced)
}

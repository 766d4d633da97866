// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package inventory keeps the state of every PersistentVolumeClaim of a cluster: it watches what package coverage
// decides on, and decides again about the claims that an event concerns. The agent that leads serves metrics from it,
// and the CLI asks it once.
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

// Options say what to look at.
type Options struct {
	// Namespace is Velero's.
	Namespace string
	// StaleAfter is how old the last success of a protected claim may be; 0 for two runs of its schedule.
	StaleAfter time.Duration
	// ClaimsOnly leaves out pods without claims, and volumes whose content comes from the API: states do not depend on
	// them, and Plan does not know of them then.
	ClaimsOnly bool
	// Log gets what a caller cannot be told as an error: a request that failed and is being tried again.
	Log logr.Logger
}

// serverLook is how often Velero's server is looked at: its flags, the admission policy, and what makes snapshots.
const serverLook = 30 * time.Second

// Inventory knows the state of every claim once it has synced. Its methods may be called concurrently.
type Inventory struct {
	options Options
	client  client.WithWatch
	trouble *trouble
	feeds   []*feed
	// filled say whether each feed has brought its first list.
	filled []*bool

	// mu guards all that follows.
	mu            sync.RWMutex
	world         *world
	configuration *configuration
	history       *history
	verdicts      map[client.ObjectKey]coverage.Verdict
	synced        bool

	evaluations atomic.Uint64
}

// New returns an inventory of the cluster. It does not talk to the API server yet.
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
	w := newWorld(options.Namespace)
	i := &Inventory{
		options: options, client: c, world: w, configuration: newConfiguration(w),
		trouble:  &trouble{log: options.Log, errors: map[string]error{}},
		verdicts: map[client.ObjectKey]coverage.Verdict{},
	}
	i.history = newHistory()
	i.addFeeds()
	return i, nil
}

// Start watches until the context ends. What cannot be read is tried again for ever: see WaitForSync and Trouble.
func (i *Inventory) Start(ctx context.Context) error {
	var all sync.WaitGroup
	for _, f := range i.feeds {
		all.Go(func() { f.run(ctx, i.client, i.trouble) })
	}
	all.Go(func() { i.watchServer(ctx) })
	i.decide(ctx)
	all.Wait()
	return nil
}

// WaitForSync waits until every claim has its state. It fails when the context ends before, and as soon as something
// that is needed cannot be read and will not be by waiting; the error names it.
func (i *Inventory) WaitForSync(ctx context.Context) error {
	ticker := time.NewTicker(syncLook)
	defer ticker.Stop()
	for !i.isSynced() {
		lasting, err := i.trouble.current()
		if lasting {
			return fmt.Errorf("taking stock of the cluster: %w", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("taking stock of the cluster: %w", errors.Join(context.Cause(ctx), err))
		case <-ticker.C:
		}
	}
	return nil
}

// Trouble returns what cannot be read at the moment, so that states may be behind; nil if all can.
func (i *Inventory) Trouble() error {
	_, err := i.trouble.current()
	return err
}

// Evaluations returns how often a claim was decided about so far.
func (i *Inventory) Evaluations() uint64 { return i.evaluations.Load() }

func (i *Inventory) isSynced() bool {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.synced
}

// States returns the state of each claim at that time, sorted by namespace and name; none before WaitForSync.
func (i *Inventory) States(now time.Time) []coverage.State {
	i.mu.RLock()
	defer i.mu.RUnlock()
	if !i.synced {
		return nil
	}
	states := make([]coverage.State, 0, len(i.verdicts))
	moment := coverage.NewMoment(now, i.options.StaleAfter)
	moment.Running = i.history.backups.running(now)
	for key, verdict := range i.verdicts {
		claim := i.world.claim(key)
		if claim == nil {
			continue
		}
		state := verdict.At(moment, i.history.outcome(string(claim.UID)))
		state.Namespace, state.Claim = key.Namespace, key.Name
		states = append(states, state)
	}
	slices.SortFunc(states, func(a, b coverage.State) int {
		if order := strings.Compare(a.Namespace, b.Namespace); order != 0 {
			return order
		}
		return strings.Compare(a.Claim, b.Claim)
	})
	return states
}

// decide looks at claims that something has happened to, until the context ends.
func (i *Inventory) decide(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-i.world.wake:
		}
		for ctx.Err() == nil && i.decideNext() {
		}
	}
}

// decideNext decides about one claim and what hangs together with it, and says whether there was one.
func (i *Inventory) decideNext() bool {
	group, plans, more := i.next()
	if !more {
		return false
	}
	verdicts := coverage.Decide(group, plans)
	i.evaluations.Add(uint64(len(verdicts)))
	i.mu.Lock()
	defer i.mu.Unlock()
	for name, verdict := range verdicts {
		key := client.ObjectKey{Namespace: group.Namespace, Name: name}
		if i.world.claim(key) != nil {
			i.verdicts[key] = verdict
		}
	}
	return true
}

// next takes a group of claims from those to look at. There is none before everything is read once.
func (i *Inventory) next() (coverage.Group, []*coverage.Plan, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.complete() {
		return coverage.Group{}, nil, false
	}
	for key := range i.world.dirty {
		group, gone := i.world.group(key)
		for _, name := range gone {
			delete(i.verdicts, client.ObjectKey{Namespace: key.Namespace, Name: name})
		}
		return group, i.configuration.order, true
	}
	i.synced = true
	return coverage.Group{}, nil, false
}

// complete says whether everything was read once.
func (i *Inventory) complete() bool {
	return i.configuration.server != nil && !slices.ContainsFunc(i.filled, func(filled *bool) bool { return !*filled })
}

// watchServer looks at Velero's server again and again, since few of these objects exist and they hardly change.
func (i *Inventory) watchServer(ctx context.Context) {
	for ctx.Err() == nil {
		server, err := readServer(ctx, i.client, i.options.Namespace)
		i.trouble.note("look at Velero's server", err)
		pause := serverLook
		if err == nil {
			i.mu.Lock()
			i.configuration.serverChanged(server)
			i.world.signal()
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

// addFeeds says what is watched, and what happens then.
func (i *Inventory) addFeeds() {
	own := i.options.Namespace
	addFeed(i, &feed{
		what: "pods", example: &corev1.Pod{}, list: &corev1.PodList{},
	}, i.stripPod, i.world.podChanged)
	addFeed(i, &feed{
		what:    "persistentvolumeclaims",
		example: &corev1.PersistentVolumeClaim{}, list: &corev1.PersistentVolumeClaimList{},
	}, always(StripClaim), i.world.claimChanged)
	addFeed(i, &feed{
		what: "persistentvolumes", example: &corev1.PersistentVolume{}, list: &corev1.PersistentVolumeList{},
	}, always(StripVolume), i.world.volumeChanged)
	addFeed(i, metadataFeed("namespaces", "Namespace"), always(func(m *metav1.PartialObjectMetadata) {
		stripNamed(m, namespaceLabels()...)
	}), i.world.namespaceChanged)
	addFeed(i, metadataFeed("nodes", "Node"), always(func(m *metav1.PartialObjectMetadata) {
		stripNamed(m, corev1.LabelOSStable)
	}), i.world.nodeChanged)
	addFeed(i, &feed{
		what: "schedules.velero.io", namespace: own, example: &velerov1.Schedule{}, list: &velerov1.ScheduleList{},
	}, always(stripSchedule), i.configuration.scheduleChanged)
	addFeed(i, &feed{
		what: "configmaps", namespace: own, example: &corev1.ConfigMap{}, list: &corev1.ConfigMapList{},
	}, always(stripConfigMap), i.configuration.configMapChanged)
	addLedger(i, &feed{
		what: "backups.velero.io", namespace: own, example: &velerov1.Backup{}, list: &velerov1.BackupList{},
	}, stripVeleroBackup, i.history.backups)
	addLedger(i, &feed{
		what: "podvolumebackups.restic.velero.io", namespace: own, example: &resticv1.PodVolumeBackup{},
		list: &resticv1.PodVolumeBackupList{},
	}, stripBackup, i.history)
}

// stripPod makes a pod small, and says whether it is needed.
func (i *Inventory) stripPod(pod *corev1.Pod) bool {
	StripPod(pod)
	if !i.options.ClaimsOnly {
		return true
	}
	DropContent(pod)
	return hasClaim(pod) || i.world.isNodeAgent(pod)
}

func metadataFeed(what, kind string) *feed {
	example, list := &metav1.PartialObjectMetadata{}, &metav1.PartialObjectMetadataList{}
	example.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind))
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind + "List"))
	return &feed{what: what, example: example, list: list}
}

func always[T client.Object](strip func(T)) func(T) bool {
	return func(object T) bool {
		strip(object)
		return true
	}
}

// addFeed has a table kept by a feed.
func addFeed[T client.Object](i *Inventory, f *feed, strip func(T) bool, changed func(before, after T)) {
	t := &table[T]{mu: &i.mu, strip: strip, changed: changed, objects: map[client.ObjectKey]T{}}
	t.filled = i.world.signal
	f.store = t
	add(i, f, func(object T) { strip(object) }, &t.synced)
}

// addLedger has a book kept by a feed.
func addLedger[T client.Object](i *Inventory, f *feed, strip func(T), kept book[T]) {
	l := &ledger[T]{mu: &i.mu, filled: i.world.signal, book: kept}
	f.store = l
	add(i, f, strip, &l.synced)
}

func add[T client.Object](i *Inventory, f *feed, strip func(T), synced *bool) {
	f.strip = func(object runtime.Object) {
		if one, isOne := object.(T); isOne {
			strip(one)
		}
	}
	i.feeds, i.filled = append(i.feeds, f), append(i.filled, synced)
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/velero-restic/velero-plugin-for-restic/agent/build"
	"github.com/velero-restic/velero-plugin-for-restic/agent/event"
	"github.com/velero-restic/velero-plugin-for-restic/agent/hostpath"
	"github.com/velero-restic/velero-plugin-for-restic/agent/leader"
	"github.com/velero-restic/velero-plugin-for-restic/agent/lock"
	"github.com/velero-restic/velero-plugin-for-restic/agent/metric"
	"github.com/velero-restic/velero-plugin-for-restic/agent/readiness"
	"github.com/velero-restic/velero-plugin-for-restic/agent/session"
	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	"github.com/velero-restic/velero-plugin-for-restic/agent/volume"
	"github.com/velero-restic/velero-plugin-for-restic/agent/volume/backup"
	"github.com/velero-restic/velero-plugin-for-restic/agent/volume/restore"
	"github.com/velero-restic/velero-plugin-for-restic/agent/worker"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
	"github.com/velero-restic/velero-plugin-for-restic/internal/version"
)

// component is what Events say that they come from.
const component = "velero-restic-agent"

// serviceAccountDir is where the kubelet mounts the token of the agent's service account.
const serviceAccountDir = "/var/run/secrets/kubernetes.io/serviceaccount"

// run serves both roles until the context ends.
func run(ctx context.Context, options *Options) error {
	if err := session.Sweep(options.ScratchDir); err != nil {
		return err
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("finding the API server: %w", err)
	}
	// The controllers' own limits bound the load; client-go's would only delay it.
	config.QPS, config.Burst = 100, 200
	counters, err := metric.New(metrics.Registry)
	if err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	if err := metric.RegisterBuild(metrics.Registry, version.Version, version.Restic); err != nil {
		return fmt.Errorf("registering the metric of this build: %w", err)
	}
	node, err := newNode(config, options)
	if err != nil {
		return err
	}
	mover, err := newNodeMover(ctx, node.GetAPIReader(), options)
	if err != nil {
		return err
	}
	covered := metric.NewCoverage(mover.Clock.Now)
	if err := metrics.Registry.Register(covered); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	announcer := &event.Announcer{Recorder: node.GetEventRecorderFor(component), Metrics: counters}
	if err := addNodeRole(ctx, node, options, mover, announcer); err != nil {
		return err
	}
	publisher, err := build.NewPublisher(config, options.Namespace, options.Pod, options.Node)
	if err != nil {
		return err
	}
	controllers := &leaderControllers{
		config: config, options: options, mover: mover, counters: counters, covered: covered,
		clock: mover.Clock,
	}
	role := &leader.Role{
		Config: config, Scheme: node.GetScheme(), Namespace: options.Namespace, Node: options.Node, Metrics: counters,
		Setup: controllers.setup,
	}
	if err := addRunnables(node, publisher, role); err != nil {
		return err
	}
	ctrl.Log.Info("Starting", "version", version.Version, "restic", version.Restic, "node", options.Node)
	return node.Start(ctx)
}

func newScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(velerov1.AddToScheme(scheme))
	utilruntime.Must(resticv1.AddToScheme(scheme))
	return scheme
}

// An agent finds the pods that run on its node.
//
// +kubebuilder:rbac:groups="",resources=pods,verbs=list;watch

// The agents process the project's own custom resources.
//
// +kubebuilder:rbac:groups=restic.velero.io,resources=podvolumebackups;podvolumerestores;resticrepositories,verbs=get;list;watch;create;update;patch;delete,namespace=velero
// +kubebuilder:rbac:groups=restic.velero.io,resources=podvolumebackups/status;podvolumerestores/status;resticrepositories/status,verbs=get;update;patch,namespace=velero

// newNode returns the manager of the node role. Its cache holds this node's pods and PodVolumeBackups, and what else
// is in Velero's namespace, so that its memory does not grow with the cluster.
func newNode(config *rest.Config, options *Options) (ctrl.Manager, error) {
	ownNamespace := map[string]cache.Config{options.Namespace: {}}
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                 newScheme(),
		Metrics:                metricsserver.Options{BindAddress: options.MetricsAddress},
		HealthProbeBindAddress: options.HealthAddress,
		Cache: cache.Options{
			DefaultNamespaces:           ownNamespace,
			ReaderFailOnMissingInformer: true,
			ByObject: map[client.Object]cache.ByObject{
				&resticv1.PodVolumeBackup{}: {
					Namespaces: ownNamespace,
					Field:      fields.OneTermEqualSelector("spec.node", options.Node),
				},
				&corev1.Pod{}: {
					Namespaces: map[string]cache.Config{cache.AllNamespaces: {}},
					Field:      fields.OneTermEqualSelector("spec.nodeName", options.Node),
				},
			},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("preparing the node role: %w", err)
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return nil, fmt.Errorf("adding the health check: %w", err)
	}
	return mgr, nil
}

// newNodeMover returns what runs restic for volumes, in a sandbox. It knows the ID of this cluster, which goes on every
// snapshot.
func newNodeMover(ctx context.Context, reader client.Reader, options *Options) (*transfer.Mover, error) {
	runner, err := newRunner(ctx, options)
	if err != nil {
		return nil, err
	}
	if runner, err = sandboxed(ctx, runner, options); err != nil {
		return nil, err
	}
	mover, err := newMover(reader, runner, options)
	if err != nil {
		return nil, err
	}
	mover.Cluster, err = clusterID(ctx, reader)
	return mover, err
}

// newRunner returns what runs restic, after a check that restic has the version that this agent was tested with.
func newRunner(ctx context.Context, options *Options) (restic.Process, error) {
	runner := restic.Process{Binary: options.Restic, Grace: options.StopGrace}
	found, err := restic.NewClient(runner, restic.Repository{}).Version(ctx)
	if err != nil {
		return runner, fmt.Errorf("asking %s for its version: %w", options.Restic, err)
	}
	if found != version.Restic {
		return runner, fmt.Errorf("%s is restic %s, and this agent is made for %s: use the agent's own image, "+
			"or set --restic", options.Restic, found, version.Restic)
	}
	return runner, nil
}

// newMover returns what moves the content of volumes with the runner.
func newMover(reader client.Reader, runner restic.Runner, options *Options) (*transfer.Mover, error) {
	if err := os.MkdirAll(options.ScratchDir, 0o700); err != nil {
		return nil, fmt.Errorf("making --scratch-dir: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("asking for the host name: %w", err)
	}
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program's own path: %w", err)
	}
	return &transfer.Mover{
		Opener: &session.Opener{
			Reader: reader, Namespace: options.Namespace, Runner: runner, ScratchDir: options.ScratchDir,
			DefaultCredentialFile: options.CredentialFile, ProcessEnv: options.ProcessEnv,
			ExtraEnv: options.ExtraEnvSecret, RetryLock: options.RetryLock, Program: program,
			MountInfo: "/proc/self/mountinfo", ExtraPaths: options.SandboxPaths,
			ClosedPaths: []string{options.HostPods, serviceAccountDir},
		},
		Finder:          hostpath.Finder{Root: options.HostPods},
		ReadConcurrency: options.ReadConcurrency,
		Clock:           clock.RealClock{},
		Host:            host, SharedHost: host != options.Pod,
	}, nil
}

// The UID of namespace kube-system is the ID of the cluster. It distinguishes the snapshots of several clusters.
//
// +kubebuilder:rbac:groups="",resources=namespaces,resourceNames=kube-system,verbs=get

// clusterID returns the UID of namespace kube-system, which is as old as the cluster and never made again.
func clusterID(ctx context.Context, reader client.Reader) (string, error) {
	namespace := &corev1.Namespace{}
	if err := reader.Get(ctx, client.ObjectKey{Name: metav1.NamespaceSystem}, namespace); err != nil {
		return "", fmt.Errorf("finding out which cluster this is, by namespace %s: %w", metav1.NamespaceSystem, err)
	}
	return string(namespace.UID), nil
}

func addNodeRole(
	ctx context.Context, mgr ctrl.Manager, options *Options, mover *transfer.Mover, announcer *event.Announcer,
) error {
	shared := volume.NodeOptions{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Announcer: announcer, Node: options.Node,
		Pod: options.Pod, Namespace: options.Namespace, RepositoryWait: options.RepositoryWait,
		ProgressInterval: options.ProgressInterval, Clock: mover.Clock,
	}
	backups, restores, locks := worker.NewWakeup(), worker.NewWakeup(), worker.NewWakeup()
	backupJobs := transfer.NewPool[transfer.BackupOutcome](options.Concurrency, backups.Changed)
	restoreJobs := transfer.NewPool[transfer.RestoreOutcome](options.Concurrency, restores.Changed)
	lockJobs := transfer.NewPool[transfer.LocksOutcome](1, locks.Changed)
	backupReconciler := &backup.Reconciler{NodeOptions: shared, Jobs: backupJobs, Backup: mover.Backup}
	if err := backupReconciler.SetupWithManager(ctx, mgr, backups); err != nil {
		return fmt.Errorf("adding the controller of PodVolumeBackups: %w", err)
	}
	restoreReconciler := &restore.Reconciler{
		NodeOptions: shared, Jobs: restoreJobs, Restore: mover.Restore,
		Markers: transfer.Markers{Finder: mover.Finder, Clock: mover.Clock},
	}
	if err := restoreReconciler.SetupWithManager(ctx, mgr, restores); err != nil {
		return fmt.Errorf("adding the controller of PodVolumeRestores: %w", err)
	}
	ownLocks := &lock.OwnReconciler{
		Client: mgr.GetClient(), Pod: options.Pod, Clock: mover.Clock, Jobs: lockJobs, Locks: mover.Locks,
	}
	if err := ownLocks.SetupWithManager(mgr, locks); err != nil {
		return fmt.Errorf("adding the controller of this agent's locks: %w", err)
	}
	if err := addRunnables(mgr, backupJobs, restoreJobs, lockJobs); err != nil {
		return err
	}
	return errors.Join(
		mgr.AddReadyzCheck("caches", readiness.CachesSynced(mgr)),
		mgr.AddReadyzCheck("host-pods", readiness.PodsFound(mgr, mover.Finder)),
	)
}

func addRunnables(mgr manager.Manager, runnables ...manager.Runnable) error {
	for _, runnable := range runnables {
		if err := mgr.Add(runnable); err != nil {
			return fmt.Errorf("adding %T: %w", runnable, err)
		}
	}
	return nil
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// Options are all that the agent can be told. They are read here and nowhere else.
type Options struct {
	// Node is the name of the node that the agent runs on.
	Node string
	// Pod is the name of the agent's pod.
	Pod string
	// Namespace is Velero's.
	Namespace string
	// HostPods is where the kubelet's directory of pods is mounted.
	HostPods string
	// ScratchDir holds restic's cache and short-lived private files.
	ScratchDir string
	// CredentialFile is the default credential of storage locations.
	CredentialFile string
	// ExtraEnvSecret is the name of a Secret whose keys restic gets as environment variables and files.
	ExtraEnvSecret string
	// Restic is the path of the restic binary.
	Restic string
	// TrustVolumeOwners lets restic run without a sandbox where the agent cannot build one.
	TrustVolumeOwners bool
	// SandboxPaths are files and directories that restic can read in its sandbox, besides those that it always has.
	SandboxPaths []string
	// Concurrency is how many volumes of the node are backed up at a time, and how many restored.
	Concurrency int
	// ReadConcurrency is how many files of a volume restic reads at a time; 0 leaves it to restic.
	ReadConcurrency int
	// RetryLock is how long restic waits for a lock.
	RetryLock time.Duration
	// StopGrace is how long restic may take to stop before it is killed.
	StopGrace time.Duration
	// RepositoryWait is how long an operation waits for its repository to become ready.
	RepositoryWait time.Duration
	// ProgressInterval is how often a transfer's progress is written into its status.
	ProgressInterval time.Duration
	// OrphanSweep is how often repositories are searched for snapshots of backups that no longer exist; 0 for never.
	OrphanSweep time.Duration
	// OrphanGrace is how long such a snapshot is reported before it is removed.
	OrphanGrace time.Duration
	// MaintenanceConfig is the name of the ConfigMap that says how maintenance runs.
	MaintenanceConfig string
	// Coverage has the leader watch which claims are protected.
	Coverage bool
	// CoverageStaleAfter is how old the last success of a protected claim may be; 0 for two runs of its schedule.
	CoverageStaleAfter time.Duration
	// AllowStaticPassword permits new repositories with Velero's well-known password.
	AllowStaticPassword bool
	// AnnotatePods has the leader name the volumes that the rules include in annotations of their pods.
	AnnotatePods bool
	// MetricsAddress and HealthAddress are where the agent listens.
	MetricsAddress, HealthAddress string
	// LogLevel and LogFormat say what is logged, and how.
	LogLevel, LogFormat string
	// ProcessEnv is the agent's environment.
	ProcessEnv map[string]string
}

// NewOptions returns the defaults for a process with this environment, as KEY=value.
func NewOptions(environ []string) *Options {
	env := map[string]string{}
	for _, entry := range environ {
		key, value, _ := strings.Cut(entry, "=")
		env[key] = value
	}
	orElse := func(key, other string) string {
		if env[key] != "" {
			return env[key]
		}
		return other
	}
	return &Options{
		Node: env["NODE_NAME"], Pod: orElse("POD_NAME", env["HOSTNAME"]), Namespace: env["VELERO_NAMESPACE"],
		ProcessEnv: env,
		HostPods:   contract.DefaultHostPodsDir, ScratchDir: orElse("VELERO_SCRATCH_DIR", "/scratch"),
		CredentialFile: "/credentials/cloud", ExtraEnvSecret: "velero-restic-env", Restic: "/usr/local/bin/restic",
		Concurrency: 2, RetryLock: time.Minute, StopGrace: 8 * time.Second, RepositoryWait: time.Minute,
		OrphanSweep: 24 * time.Hour, OrphanGrace: 7 * 24 * time.Hour,
		ProgressInterval: 2 * time.Second, MetricsAddress: ":8085", HealthAddress: ":8086",
		MaintenanceConfig: contract.MaintenanceConfigMap, Coverage: true,
		LogLevel: "info", LogFormat: "text",
	}
}

// AddFlags makes the options settable.
func (o *Options) AddFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.Node, "node-name", o.Node, "name of this node; default: environment variable NODE_NAME")
	flags.StringVar(&o.Pod, "pod-name", o.Pod, "name of this pod; default: environment variable POD_NAME")
	flags.StringVar(&o.Namespace, "namespace", o.Namespace,
		"namespace of Velero; default: environment variable VELERO_NAMESPACE")
	flags.StringVar(&o.HostPods, "host-pods", o.HostPods, "mount path of the kubelet's directory of pods")
	flags.StringVar(&o.ScratchDir, "scratch-dir", o.ScratchDir,
		"directory for restic's cache and private files; default: environment variable VELERO_SCRATCH_DIR, or /scratch")
	flags.StringVar(&o.CredentialFile, "credential-file", o.CredentialFile,
		"path of the credential for storage locations that name none")
	flags.StringVar(&o.ExtraEnvSecret, "extra-env-secret", o.ExtraEnvSecret,
		"Secret in Velero's namespace whose keys restic gets as environment variables and files, if it exists")
	flags.StringVar(&o.Restic, "restic", o.Restic, "path of the restic binary")
	flags.BoolVar(&o.TrustVolumeOwners, "trust-volume-owners", o.TrustVolumeOwners,
		"run restic without a sandbox where the agent cannot build one; "+
			"the owner of a volume can then read and write other files of the node")
	flags.StringArrayVar(&o.SandboxPaths, "sandbox-path", o.SandboxPaths,
		"file or directory that restic can read in its sandbox, for instance a token that a credential file names; "+
			"can be repeated")
	flags.IntVar(&o.Concurrency, "concurrency", o.Concurrency,
		"number of volumes of this node to back up at a time, and to restore at a time")
	flags.IntVar(&o.ReadConcurrency, "read-concurrency", o.ReadConcurrency,
		"number of files of a volume to read at a time; 0: restic's default")
	flags.DurationVar(&o.RetryLock, "retry-lock", o.RetryLock, "how long to wait for a locked repository")
	flags.DurationVar(&o.StopGrace, "stop-grace", o.StopGrace,
		"how long restic may take to stop before the agent kills it")
	flags.DurationVar(&o.RepositoryWait, "repository-wait", o.RepositoryWait,
		"how long an operation waits for a repository that is not ready before the operation fails")
	flags.DurationVar(&o.ProgressInterval, "progress-interval", o.ProgressInterval,
		"how often to write the progress into the status")
	flags.DurationVar(&o.OrphanSweep, "orphan-sweep", o.OrphanSweep,
		"how often to look for orphans, snapshots of backups that no longer exist; 0: never")
	flags.DurationVar(&o.OrphanGrace, "orphan-grace", o.OrphanGrace,
		"how long to report an orphan before it is removed")
	flags.StringVar(&o.MaintenanceConfig, "maintenance-config", o.MaintenanceConfig,
		"ConfigMap in Velero's namespace with the settings of checks and prunes, if it exists")
	flags.BoolVar(&o.Coverage, "coverage", o.Coverage,
		"let the leader watch all claims and pods, and report in metrics which claims are protected")
	flags.DurationVar(&o.CoverageStaleAfter, "coverage-stale-after", o.CoverageStaleAfter,
		"maximum age of the last successful backup of a protected claim; 0: two runs of its schedule")
	flags.BoolVar(&o.AllowStaticPassword, "allow-static-password", o.AllowStaticPassword,
		"create repositories even if the Secret has Velero's well-known password")
	flags.BoolVar(&o.AnnotatePods, "annotate-pods", o.AnnotatePods,
		"write annotation "+contract.AnnotationVolumesToBackup+" on pods whose volumes the rules include; "+
			"needs the permissions in examples/component/annotate")
	flags.StringVar(&o.MetricsAddress, "metrics-address", o.MetricsAddress, "where to serve /metrics")
	flags.StringVar(&o.HealthAddress, "health-address", o.HealthAddress, "where to serve /healthz and /readyz")
	flags.StringVar(&o.LogLevel, "log-level", o.LogLevel, "one of "+strings.Join(logLevels(), ", "))
	flags.StringVar(&o.LogFormat, "log-format", o.LogFormat, "one of "+strings.Join(logFormats(), ", "))
}

func logLevels() []string  { return []string{"debug", "info", "warn", "error"} }
func logFormats() []string { return []string{"text", "json"} }

// Validate returns an error that names the flag and what it takes.
func (o *Options) Validate() error {
	if o.Node == "" {
		return fmt.Errorf("--node-name is empty: set it, or environment variable NODE_NAME from spec.nodeName")
	}
	if o.Namespace == "" {
		return fmt.Errorf("--namespace is empty: set it, or environment variable VELERO_NAMESPACE")
	}
	if o.Concurrency < 1 {
		return fmt.Errorf("--concurrency is %d: it must be at least 1", o.Concurrency)
	}
	if o.ReadConcurrency < 0 {
		return fmt.Errorf("--read-concurrency is %d: it must not be negative", o.ReadConcurrency)
	}
	for _, path := range o.SandboxPaths {
		if !filepath.IsAbs(path) {
			return fmt.Errorf("--sandbox-path is %q: it must be an absolute path", path)
		}
	}
	durations := []struct {
		flag  string
		value time.Duration
	}{
		{"--retry-lock", o.RetryLock},
		{"--stop-grace", o.StopGrace},
		{"--repository-wait", o.RepositoryWait},
		{"--progress-interval", o.ProgressInterval},
	}
	for _, d := range durations {
		if d.value <= 0 {
			return fmt.Errorf("%s is %s: it must be more than 0", d.flag, d.value)
		}
	}
	if o.OrphanSweep < 0 || o.OrphanGrace < 0 {
		return fmt.Errorf("--orphan-sweep is %s and --orphan-grace is %s: they must not be negative", o.OrphanSweep,
			o.OrphanGrace)
	}
	if o.CoverageStaleAfter < 0 {
		return fmt.Errorf("--coverage-stale-after is %s: it must not be negative", o.CoverageStaleAfter)
	}
	if !slices.Contains(logLevels(), o.LogLevel) {
		return fmt.Errorf("--log-level is %q: it must be one of %s", o.LogLevel, strings.Join(logLevels(), ", "))
	}
	if !slices.Contains(logFormats(), o.LogFormat) {
		return fmt.Errorf("--log-format is %q: it must be one of %s", o.LogFormat, strings.Join(logFormats(), ", "))
	}
	if info, err := os.Stat(o.HostPods); err != nil || !info.IsDir() {
		return fmt.Errorf("--host-pods is %q, which is not a folder: mount the kubelet's directory of pods there "+
			"(volume host-pods of DaemonSet restic)", o.HostPods)
	}
	return nil
}

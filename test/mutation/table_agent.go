// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

import "slices"

// agentMutants are changes to the agent.
func agentMutants() []Mutant {
	return slices.Concat(agentWiringMutants(), agentProcessMutants(), retentionMutants(), transferMutants())
}

// retentionMutants are changes to what decides about locks, orphans and deleted backups.
func retentionMutants() []Mutant {
	return []Mutant{
		{
			Name: "a ready agent on any node proves that the holder of a lock is gone", File: "agent/lock/holder.go",
			Line: "if pods.Items[i].Spec.NodeName != node {", Change: "if false {",
			Test: test("./agent/lock", "TestLockHolder"),
		},
		{
			Name: "work on any repository proves whose a lock is", File: "agent/lock/holder.go",
			Line:   "if backup.Spec.Repository == repository.Name && workedAt(backup, lock) {",
			Change: "if workedAt(backup, lock) {", Test: test("./agent/lock", "TestLockHolder"),
		},
		{
			Name: "the sweep of orphans reads one page of backups", File: "agent/retention/sweep.go",
			Line: `if next = page.Continue; next == "" {`, Change: `if next = page.Continue; true {`,
			Test: test("./agent/retention", "TestOrphansAmongManyBackups"),
		},
		{
			Name: "a backup of another Velero keeps an orphan", File: "agent/retention/sweep.go",
			Line:   "r.Reader.List(ctx, page, client.InNamespace(repository.Namespace), client.Limit(backupPage),",
			Change: "r.Reader.List(ctx, page, client.Limit(backupPage),",
			Test:   test("./agent/retention", "TestOrphansAmongManyBackups"),
		},
		{
			Name: "deletions do not wait for a prune", File: "agent/retention/forget.go",
			Line: "reason := occupied.ByJob(repository)", Change: `reason := ""`,
			Test: test("./agent/retention", "TestForget"),
		},
	}
}

// transferMutants are changes to what runs restic.
func transferMutants() []Mutant {
	return []Mutant{
		{
			Name: "the snapshots of another Velero count as this one's", File: "agent/transfer/census.go",
			Line: "tags[contract.TagVeleroNamespace] == m.Opener.Namespace && ", Change: "",
			Test: test("./agent/transfer", "TestCensus"),
		},
		{
			Name: "a restore ends before its data is on the storage", File: "agent/transfer/restore.go",
			Line: "return m.flush(dir)", Change: "return nil", Test: test("./agent/transfer", "TestRestoreFlushes"),
		},
	}
}

// agentWiringMutants are changes to what package main of the agent puts together.
func agentWiringMutants() []Mutant {
	const pkg, run = "./agent", "agent/run.go"
	return []Mutant{
		{
			Name: "the cache holds the pods of all nodes", File: run,
			Line:   `Field:      fields.OneTermEqualSelector("spec.nodeName", options.Node),`,
			Change: `Field:      fields.Everything(),`, Test: test(pkg, "TestNodeCache"),
		},
		{
			Name: "the cache holds the PodVolumeBackups of all nodes", File: run,
			Line:   `Field:      fields.OneTermEqualSelector("spec.node", options.Node),`,
			Change: `Field:      fields.Everything(),`, Test: test(pkg, "TestNodeCache"),
		},
		{
			Name: "the cache holds another Velero's objects", File: run,
			Line:   "DefaultNamespaces:           ownNamespace,",
			Change: "DefaultNamespaces:           nil,", Test: test(pkg, "TestNodeCache"),
		},
		{
			Name: "the cache takes up every kind that is read", File: run,
			Line:   "ReaderFailOnMissingInformer: true,",
			Change: "ReaderFailOnMissingInformer: false,", Test: test(pkg, "TestNodeCache"),
		},
		{
			Name: "any version of restic is accepted", File: run,
			Line: "if found != version.Restic {", Change: "if false {", Test: test(pkg, "TestNodeMoverRefuses"),
		},
		{
			Name: "the agent is ready without the kubelet's directory of pods", File: run,
			Line: `mgr.AddReadyzCheck("host-pods", readiness.PodsFound(mgr, mover.Finder)),`, Change: "nil,",
			Test: test(pkg, "TestProcessIsReady"),
		},
		{
			Name: "the agent is ready before its caches are filled", File: run,
			Line: `mgr.AddReadyzCheck("caches", readiness.CachesSynced(mgr)),`, Change: "nil,",
			Test: test(pkg, "TestProcessIsReady"),
		},
		{
			Name: "a repository in a folder of the container's own disk is accepted", File: run,
			Line: `MountInfo: "/proc/self/mountinfo",`, Change: "", Test: test(pkg, "TestNodeMover"),
		},
		{
			Name: "agents that share a host name remove each other's locks", File: run,
			Line: "SharedHost: host != options.Pod,", Change: "SharedHost: false,", Test: test(pkg, "TestNodeMover"),
		},
		{
			Name: "snapshots are tagged with no cluster", File: run,
			Line: "mover.Cluster, err = clusterID(ctx, reader)", Change: "_, err = clusterID(ctx, reader)",
			Test: test(pkg, "TestNodeMover"),
		},
	}
}

// agentProcessMutants are changes to the flags and logs of the agent's process.
func agentProcessMutants() []Mutant {
	const pkg = "./agent"
	return []Mutant{
		{
			Name: "--log-level has no effect", File: "agent/main.go",
			Line: "o.Level = level", Change: "_ = level", Test: test(pkg, "TestProcessLogs"),
		},
		{
			Name: "--log-format has no effect", File: "agent/main.go",
			Line: `o.Development = options.LogFormat == "text"`, Change: "o.Development = true",
			Test: test(pkg, "TestProcessLogs"),
		},
		{
			Name: "the logger ignores the flags", File: "agent/main.go",
			Line:   "command.PersistentPreRun = func(*cobra.Command, []string) { setLogger(options) }",
			Change: "setLogger(options)", Test: test(pkg, "TestProcessLogs"),
		},
		{
			Name: "client-go logs in a format of its own", File: "agent/main.go",
			Line: "klog.SetLogger(logger)", Change: "_ = klog.SetLogger", Test: test(pkg, "TestProcessLogs"),
		},
		{
			Name: "flags are not validated", File: "agent/main.go",
			Line: "if err := options.Validate(); err != nil {", Change: "if err := error(nil); err != nil {",
			Test: test(pkg, "TestProcessRefuses"),
		},
		{
			Name: "--host-pods may be anything", File: "agent/options.go",
			Line:   "if info, err := os.Stat(o.HostPods); err != nil || !info.IsDir() {",
			Change: "if _, err := os.Stat(o.HostPods); false && err != nil {", Test: test(pkg, "TestOptionsAreRefused"),
		},
	}
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package contract holds every name that two of the project's processes share, with the functions that write and
// read them. The plugin, the agent, the restore helper and the CLI meet only here and in the API server, so a name
// that changes on one side only breaks a backup. It imports the standard library alone: the helper is built from it.
package contract

// BasePolicyTypes are the types of volumes without a claim that the base volume policy matches, as it names them:
// Velero's core leaves volumes of these to this project, and no others.
func BasePolicyTypes() []string {
	return []string{"emptyDir", "ephemeral", "nfs", "cephfs", "glusterfs"}
}

// FinalizerForget keeps a PodVolumeBackup whose snapshot must still be forgotten.
const FinalizerForget = "restic.velero.io/forget"

// The DaemonSet's fixed names. The labels are those of Velero <= 1.9, which users' scripts know.
const (
	DaemonSetName      = "restic"
	AgentLabelKey      = "name"
	AgentLabelValue    = "restic"
	LeaderLeaseName    = "velero-restic-leader"
	DefaultHostPodsDir = "/host_pods"
)

// MaintenanceConfigMap is the default name of the ConfigMap in Velero's namespace that says how maintenance runs.
const MaintenanceConfigMap = "velero-restic-maintenance"

// Secrets that hold the password of the repositories, in the order in which they are looked for, and their key.
const (
	PasswordSecret       = "velero-restic-credentials" //nolint:gosec // the name of a Secret, not its content
	PasswordSecretLegacy = "velero-repo-credentials"   //nolint:gosec // the name of a Secret, not its content
	PasswordSecretKey    = "repository-password"
)

// Kinds of actions that a ConfigMap of the plugin configures, as values of LabelPluginName.
const (
	// PluginKindRestore is the kind of the ConfigMap for the init container of restored pods.
	PluginKindRestore = "RestoreItemAction"
	// PluginKindBackup is the kind of the ConfigMap with the rules that select volumes.
	PluginKindBackup = "BackupItemAction"
)

// PluginPrefix starts the name of every action that the plugin registers.
const PluginPrefix = "velero.io/restic"

// Host is the host name in every snapshot, as Velero <= 1.16 set it (pkg/restic/command_factory.go), so that
// snapshots from before and from any node belong to one line.
const Host = "velero"

// VeleroDeployment is the name that `velero install` gives to the Deployment of Velero's server.
const VeleroDeployment = "velero"

// AdmissionPolicy is the name of the MutatingAdmissionPolicy of examples/base, and of its binding.
const AdmissionPolicy = "velero-restic-volume-policy"

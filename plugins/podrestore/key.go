// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package podrestore

// Keys of the ConfigMap that configures the init container of restored pods: those of Velero's documentation, and those
// that Velero added to its own later (velero v1.18.3, pkg/restore/actions/pod_volume_restore_action.go).
// docs/reference/plugin.md is generated from these comments.
const (
	// keyImage: the image. Without a tag, it gets the tag of the Velero server's image. Default: the image of this
	// release.
	keyImage = "image"
	// keyCommand: path of the program to run. It gets the same arguments. Default: the helper in the image.
	keyCommand = "command"
	// keyCPURequest: requested CPU. 0 requests none. Default: 100m.
	keyCPURequest = "cpuRequest"
	// keyMemoryRequest: requested memory. 0 requests none. Default: 128Mi.
	keyMemoryRequest = "memRequest"
	// keyCPULimit: limit of CPU. 0 sets none. A limit below the request is raised to it. Default: 100m.
	keyCPULimit = "cpuLimit"
	// keyMemoryLimit: limit of memory. 0 sets none. A limit below the request is raised to it. Default: 128Mi.
	keyMemoryLimit = "memLimit"
	// keyRunAsUser: numeric ID of the user. Default: the user of the pod, or of its first container; 65532 if neither
	// has one, or it is root.
	keyRunAsUser = "secCtxRunAsUser"
	// keyRunAsGroup: numeric ID of the group. Default: the group of the pod, or of its first container; 65532 as above.
	keyRunAsGroup = "secCtxRunAsGroup"
	// keyPrivilegeEscalation: whether the process may gain privileges, true or false. Default: false.
	keyPrivilegeEscalation = "secCtxAllowPrivilegeEscalation"
	// keySecurityContext: a whole security context as YAML, in place of the default one, which meets the Pod Security
	// level restricted. Its fields win over the keys above.
	keySecurityContext = "secCtx"
)

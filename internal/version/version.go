// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package version says which build this is. Its variables are set by the linker: see the Makefile.
package version

//nolint:gochecknoglobals // -ldflags -X can only set package variables
var (
	// Version is the version of the product, such as v0.1.0.
	Version = "v0.0.0-dev"
	// HelperImage replaces the repository of the restore helper's image, without a tag, for builds whose images
	// live in a registry of their own. Empty means contract.DefaultRestoreHelperImage with the tag of the Velero
	// server's image.
	HelperImage = ""
)

// Restic is the version of restic that the agent is built and tested with. It is pinned in agent/restic/go.mod.
const Restic = "0.19.1"

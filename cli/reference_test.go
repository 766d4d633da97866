// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

import (
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/velero-restic/velero-plugin-for-restic/cli/command"
	"github.com/velero-restic/velero-plugin-for-restic/test/reference"
)

// TestReference tests that docs/reference/cli.md matches the commands and their flags.
func TestReference(t *testing.T) {
	streams, _, _, _ := genericiooptions.NewTestIOStreams()
	root := newRoot(command.NewEnvironment(streams, command.Screen{}, defaultNamespace))
	reference.Check(t, "cli.md", reference.CLI(root))
}

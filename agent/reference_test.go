// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

import (
	"testing"

	"github.com/spf13/pflag"

	"github.com/velero-restic/velero-plugin-for-restic/test/reference"
)

// TestReference tests that docs/reference/agent.md matches the flags.
func TestReference(t *testing.T) {
	flags := pflag.NewFlagSet("agent", pflag.ContinueOnError)
	NewOptions(nil).AddFlags(flags)
	reference.Check(t, "agent.md", reference.Agent(flags))
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

import (
	"slices"
	"strings"
)

// mutants returns the table: every change, and the tests that must notice it. Each file of the table holds the changes
// to one part of the product.
func mutants() []Mutant {
	return slices.Concat(pluginMutants(), helperMutants(), agentMutants(), internalMutants())
}

// test returns the arguments of `go test` for tests of a package, by their names without subtests.
func test(pkg string, names ...string) []string {
	return []string{pkg, "-run=^(" + strings.Join(names, "|") + ")$"}
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Command generate writes the alert rules for the Prometheus operator. Run it in the root directory of the repository.
package main

import (
	"fmt"
	"os"

	"github.com/velero-restic/velero-plugin-for-restic/test/prometheus"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func run() error {
	rules, err := os.ReadFile(prometheus.RulesFile)
	if err != nil {
		return err
	}
	object, err := prometheus.Operator(string(rules))
	if err != nil {
		return err
	}
	return os.WriteFile(prometheus.OperatorFile, []byte(object), 0o644)
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package e2e tests the jobs of users on a real cluster. The file main_test.go describes how it runs.
package e2e

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package integration tests the project's binaries against a real API server with the real custom resources.
package integration

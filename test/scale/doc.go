// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package scale tests, against a real API server, what the project reports about a cluster of 10,000 claims.
package scale

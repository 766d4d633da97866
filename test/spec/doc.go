// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package spec checks docs/spec.md: each promise on that page names tests, and these tests exist.
package spec

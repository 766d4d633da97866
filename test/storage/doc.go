// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package storage tests how the agent reaches repositories, from a BackupStorageLocation and its Secrets to restic, on
// real servers: S3, S3 behind a private certificate authority, restic's REST server, SSH, rclone, a directory, and the
// interfaces of Google Cloud Storage and Azure Blob. All servers listen on the loopback device only.
//
// For a service that exists only in the cloud, the tests use its real addresses: restic reaches them through a proxy of
// the test (see front), like through the proxy of a company.
package storage

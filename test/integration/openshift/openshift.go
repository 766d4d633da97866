// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package openshift pins the definition of OpenShift's SecurityContextConstraints, which TestPlatforms reads. It is a
// module of its own so that nothing else depends on it.
package openshift

import _ "github.com/openshift/api/security/v1"

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package event

import (
	"strings"
)

// MaxMessage is the longest message that the API server takes in an Event, in bytes
// (Kubernetes v1.36, pkg/apis/core/validation/events.go, NoteLengthLimit).
const MaxMessage = 1024

// Clip shortens a message to what an Event holds, without cutting a character in two.
func Clip(message string) string {
	if len(message) <= MaxMessage {
		return message
	}
	return strings.ToValidUTF8(message[:MaxMessage], "")
}

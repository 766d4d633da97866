// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package operation reports the custom resources that an action created for one pod as one operation of Velero. It
// keeps no state: the operation ID names the resources, and their status has the rest. So a new plugin process
// continues where the previous one stopped.
package operation

import (
	"fmt"
	"regexp"
	"strings"
)

// ID identifies the pod of an operation and the custom resources that belong to it. Pods that share a claim share its
// custom resource, so labels alone cannot find them all.
type ID struct {
	Namespace, Pod string
	// Objects are the names of the custom resources.
	Objects []string
}

// String returns the operation ID: namespace/pod/names. Most names are the owner's, a dash and a digest
// (contract.BackupVolumeName); only the digest of such a name is written, because `velero backup describe` prints the
// ID.
func (id ID) String(owner string) string {
	short := make([]string, 0, len(id.Objects))
	for _, name := range id.Objects {
		if rest, found := strings.CutPrefix(name, owner+"-"); found && isDigest(rest) {
			name = rest
		}
		short = append(short, name)
	}
	return id.Namespace + "/" + id.Pod + "/" + strings.Join(short, ",")
}

// Parse reads the result of String for the same owner, which is the name of the backup or restore. The error names the
// ID.
func Parse(value, owner string) (ID, error) {
	parts := strings.Split(value, "/")
	if len(parts) != 3 || parts[0] == "" || parts[1] == "" || parts[2] == "" {
		return ID{}, fmt.Errorf("operation ID %q does not have the form namespace/pod/names, "+
			"so it does not belong to this plugin", value)
	}
	names := strings.Split(parts[2], ",")
	for i, name := range names {
		if isDigest(name) {
			names[i] = owner + "-" + name
		}
	}
	return ID{Namespace: parts[0], Pod: parts[1], Objects: names}, nil
}

// isDigest returns whether the text is the digest of a derived name: 20 hexadecimal digits. No complete name matches,
// because each contains a dash.
func isDigest(text string) bool {
	return regexp.MustCompile(`^[0-9a-f]{20}$`).MatchString(text)
}

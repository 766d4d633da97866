// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package operation reports on the custom resources that an action made for one pod, as one operation of Velero. It
// keeps nothing: the operation ID names the resources, and their status says the rest, so that a plugin process that
// Velero starts anew goes on where another one left.
package operation

import (
	"fmt"
	"regexp"
	"strings"
)

// ID says which pod an operation is about and which custom resources belong to it. Several pods that share a claim
// share its resource, so that labels alone would not find them all.
type ID struct {
	Namespace, Pod string
	// Objects are the names of the custom resources.
	Objects []string
}

// String returns the operation ID: namespace/pod/names. Most names are the owner's, a dash and a digest
// (contract.BackupVolumeName); of those only the digest is written, since `velero backup describe` prints the ID.
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

// Parse reads what String wrote, for the same owner: the backup's or the restore's name. The error names the ID.
func Parse(value, owner string) (ID, error) {
	parts := strings.Split(value, "/")
	if len(parts) != 3 || parts[0] == "" || parts[1] == "" || parts[2] == "" {
		return ID{}, fmt.Errorf("operation ID %q is not namespace/pod/names: it is not this plugin's", value)
	}
	names := strings.Split(parts[2], ",")
	for i, name := range names {
		if isDigest(name) {
			names[i] = owner + "-" + name
		}
	}
	return ID{Namespace: parts[0], Pod: parts[1], Objects: names}, nil
}

// isDigest says whether the text is the 20 hexadecimal digits that end a derived name. No whole name is: it has a dash.
func isDigest(text string) bool {
	return regexp.MustCompile(`^[0-9a-f]{20}$`).MatchString(text)
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package command

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// NotFoundError returns an error that lists the existing objects, the most similar names first. The namespace is empty
// for cluster-scoped kinds.
func NotFoundError(kind, namespace, name string, existing []string) error {
	where := ""
	if namespace != "" {
		where = " in namespace " + namespace
	}
	err := fmt.Errorf("there is no %s %q%s", kind, name, where)
	if len(existing) == 0 {
		next := "none exists" + where
		if namespace != "" {
			next += "; use -n for another namespace"
		}
		return NewError(err, next)
	}
	return NewError(err, "there are: "+list(bySimilarity(name, existing)))
}

// bySimilarity sorts names: first those that contain the given one, then those with the longest common prefix.
func bySimilarity(name string, existing []string) []string {
	sorted := slices.Clone(existing)
	slices.SortStableFunc(sorted, func(a, b string) int {
		return cmp.Or(cmp.Compare(similarity(name, b), similarity(name, a)), cmp.Compare(a, b))
	})
	return sorted
}

func similarity(name, other string) int {
	if strings.Contains(other, name) || strings.Contains(name, other) {
		return len(name) + len(other)
	}
	same := 0
	for same < min(len(name), len(other)) && name[same] == other[same] {
		same++
	}
	return same
}

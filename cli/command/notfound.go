// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package command

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// NotThere says that an object of a kind does not exist, and names those that do, the most similar first. The
// namespace is empty for kinds without one.
func NotFoundError(kind, namespace, name string, there []string) error {
	where := ""
	if namespace != "" {
		where = " in namespace " + namespace
	}
	err := fmt.Errorf("there is no %s %q%s", kind, name, where)
	if len(there) == 0 {
		next := fmt.Sprintf("there is none at all%s", where)
		if namespace != "" {
			next += "; another namespace is chosen with -n"
		}
		return NewError(err, next)
	}
	return NewError(err, "there are: "+list(bySimilarity(name, there)))
}

// bySimilarity puts names first that contain the one given, then those that share the longest beginning with it.
func bySimilarity(name string, there []string) []string {
	sorted := slices.Clone(there)
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

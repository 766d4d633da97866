// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package volumerule

import (
	"fmt"
	"slices"
	"strings"
)

// globs are names of objects; a star in one stands for any characters, also for none. They mean the same in both
// formats: velero-volume-controller matches names of Jobs so (github.com/ryanuber/go-glob).
type globs []string

// parseGlobs refuses what can be the name of no object, and a list without entries: it could be read as "all" as well
// as "none".
func parseGlobs(key string, list []string) (globs, error) {
	if list != nil && len(list) == 0 {
		return nil, fmt.Errorf("%s: the list is empty: add an entry, or leave the key out, which means all", key)
	}
	for _, entry := range list {
		if entry == "" || strings.Trim(entry, "abcdefghijklmnopqrstuvwxyz0123456789-.*") != "" {
			return nil, fmt.Errorf("%s: %q is no name: write small letters, digits, dashes and points, and * for any "+
				"of them", key, entry)
		}
	}
	return list, nil
}

func (g globs) match(name string) bool {
	return slices.ContainsFunc(g, func(glob string) bool { return globMatches(glob, name) })
}

// matchByName is match without the entries that are stars alone: these are about any name.
func (g globs) matchByName(name string) bool {
	return slices.ContainsFunc(g, func(glob string) bool {
		return strings.Trim(glob, "*") != "" && globMatches(glob, name)
	})
}

func globMatches(glob, name string) bool {
	parts := strings.Split(glob, "*")
	last := len(parts) - 1
	if last == 0 {
		return glob == name
	}
	rest, found := strings.CutPrefix(name, parts[0])
	if !found {
		return false
	}
	for _, part := range parts[1:last] {
		if _, rest, found = strings.Cut(rest, part); !found {
			return false
		}
	}
	return strings.HasSuffix(rest, parts[last])
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package volumerule

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// checkEmpty refuses keys of a rule that nothing stands behind, such as one whose entries are commented out. The
// decoder takes them for keys that are not there, and a rule without a condition is about everything.
func checkEmpty(content json.RawMessage) error {
	var fields any
	if err := json.Unmarshal(content, &fields); err != nil {
		return err
	}
	var problems []error
	for _, key := range emptyKeys("", fields) {
		if !required(key) {
			problems = append(problems,
				fmt.Errorf("%s: nothing stands behind it: add an entry, or leave the key out", key))
		}
	}
	return errors.Join(problems...)
}

// required says whether a key cannot be left out. Without a value it is told of as such.
func required(key string) bool {
	return key == "name" || key == "action" ||
		strings.HasPrefix(key, "owners[") && strings.HasSuffix(key, "].kind")
}

// emptyKeys returns the keys with nothing behind them, as paths below where.
func emptyKeys(where string, value any) []string {
	var empty []string
	switch value := value.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(value)) {
			path := key
			if where != "" {
				path = where + "." + key
			}
			if value[key] == nil {
				empty = append(empty, path)
			}
			empty = append(empty, emptyKeys(path, value[key])...)
		}
	case []any:
		for i := range value {
			empty = append(empty, emptyKeys(fmt.Sprintf("%s[%d]", where, i), value[i])...)
		}
	}
	return empty
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package selection

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestVolumeNames(t *testing.T) {
	for sentence, tc := range map[string]struct {
		value string
		want  []string
	}{
		"nothing":                     {"", nil},
		"commas and spaces":           {" ,\t, \n", nil},
		"one name":                    {"data", []string{"data"}},
		"names keep their order":      {"b,a", []string{"b", "a"}},
		"space around a name is cut":  {" a ,\tb\n", []string{"a", "b"}},
		"a repetition is dropped":     {"a,b, a", []string{"a", "b"}},
		"an empty entry is dropped":   {",a,,b,", []string{"a", "b"}},
		"space within a name is kept": {"a b", []string{"a b"}},
	} {
		t.Run(sentence, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, VolumeNames(tc.value)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func FuzzVolumeNames(f *testing.F) {
	for _, seed := range []string{"", ",", "a", "a,b", " a , b,a", "\u00a0a,\u2003", "a\x00,\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		names := VolumeNames(value)
		for i, name := range names {
			if name == "" || name != strings.TrimSpace(name) || strings.Contains(name, ",") {
				t.Errorf("%q gives the name %q", value, name)
			}
			if slices.Contains(names[:i], name) {
				t.Errorf("%q gives %q twice", value, name)
			}
			if !strings.Contains(value, name) {
				t.Errorf("%q gives %q, which is not in it", value, name)
			}
		}
		for entry := range strings.SplitSeq(value, ",") {
			if trimmed := strings.TrimSpace(entry); trimmed != "" && !slices.Contains(names, trimmed) {
				t.Errorf("%q loses %q", value, trimmed)
			}
		}
		if again := VolumeNames(strings.Join(names, ",")); !slices.Equal(again, names) {
			t.Errorf("%q gives %q, and that %q", value, names, again)
		}
	})
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package display_test

import (
	"testing"

	"github.com/velero-restic/velero-plugin-for-restic/cli/display"
)

const mib = 1 << 20

func TestSizes(t *testing.T) {
	for _, test := range []struct{ what, got, want string }{
		{"zero", display.Bytes(0), "0 B"},
		{"less than a KiB", display.Bytes(1023), "1023 B"},
		{"a KiB", display.Bytes(1024), "1.0 KiB"},
		{"MiB", display.Bytes(70463488), "67.2 MiB"},
		{"the maximum", display.Bytes(1<<63 - 1), "8.0 EiB"},
		{"part and total in the unit of the total", display.Ratio(512*1024, 150*mib), "0.5/150.0 MiB"},
		{"a total in bytes", display.Ratio(0, 7), "0/7 B"},
		{"a part above the total", display.Ratio(3*mib, 1024), "3.0/0.0 MiB"},
		{"an unknown total", display.Ratio(mib, 0), "1.0 MiB"},
	} {
		if test.got != test.want {
			t.Errorf("%s: %q, want %q", test.what, test.got, test.want)
		}
	}
}

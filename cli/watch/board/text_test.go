// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package board

import (
	"testing"
	"time"
	"unicode/utf8"

	"github.com/velero-restic/velero-plugin-for-restic/cli/display"
)

func TestNumbers(t *testing.T) {
	for _, test := range []struct{ what, got, want string }{
		{"a rate", speedText(12.5 * mib), "12.5 MiB/s"},
		{"seconds", durationText(7400 * time.Millisecond), "7s"},
		{"rounded up to a minute", durationText(59600 * time.Millisecond), "1m00s"},
		{"minutes", durationText(80 * time.Second), "1m20s"},
		{"hours", durationText(125 * time.Minute), "2h05m"},
		{"days", durationText(123 * time.Hour), "5d03h"},
		{"one", plural(1, "volume"), "1 volume"},
		{"none", plural(0, "volume"), "0 volumes"},
	} {
		if test.got != test.want {
			t.Errorf("%s: %q, want %q", test.what, test.got, test.want)
		}
	}
}

func TestPercent(t *testing.T) {
	for _, test := range []struct {
		done, total int64
		want        int
	}{{0, 0, 0}, {5, 0, 0}, {-1, 5, 0}, {1, 3, 33}, {999_999, 1_000_000, 99}, {5, 5, 100}, {6, 5, 100}} {
		if got := percent(test.done, test.total); got != test.want {
			t.Errorf("percent(%d, %d) = %d, want %d", test.done, test.total, got, test.want)
		}
	}
}

func TestShorten(t *testing.T) {
	for _, test := range []struct {
		text string
		room int
		want string
	}{
		{"foo/sample/data", 15, "foo/sample/data"},
		{"foo/sample/data", 14, "foo/s...e/data"},
		{"foo/sample/data", 8, "fo...ata"},
		{"foo/sample/data", 7, "foo/sam"},
		{"foo/sample/data", 0, ""},
		{"日本語の名前です", 11, "日本...です"},
	} {
		if got := shorten(test.text, test.room); got != test.want {
			t.Errorf("shorten(%q, %d) = %q, want %q", test.text, test.room, got, test.want)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add("foo/sample/pvc-volume", 10)
	f.Add("日本語\x1b[31m…", 3)
	f.Add("", 0)
	f.Fuzz(func(t *testing.T, text string, room int) {
		room %= 1000
		text = display.Line(text)
		for _, got := range []string{cut(text, room), shorten(text, room), head(text, room), tail(text, room)} {
			if width(got) > max(room, 0) {
				t.Errorf("%q is wider than %d", got, room)
			}
			if !utf8.ValidString(got) && utf8.ValidString(text) {
				t.Errorf("%q is cut within a character", got)
			}
		}
	})
}

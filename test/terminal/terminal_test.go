// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package terminal

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestSVG(t *testing.T) {
	svg := SVG("$ watch <b>\n\x1b[1mbackup b\x1b[0m  \x1b[32mCompleted\x1b[39m, \x1b[2mfaint\x1b[22m\n\n\x1b[31;1mtwo\nlines\x1b[m.",
		40, `a "picture"`)
	var texts strings.Builder
	decoder := xml.NewDecoder(strings.NewReader(svg))
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
		if text, is := token.(xml.CharData); is {
			texts.Write(text)
		}
	}
	for _, want := range []string{
		`a "picture"`, "$ watch <b>\n", "backup b  Completed, faint\n", "\ntwo\nlines.",
	} {
		if !strings.Contains(texts.String(), want) {
			t.Errorf("the image does not contain %q, but %q", want, texts.String())
		}
	}
	for _, want := range []string{
		`fill="#23d18b">Completed<`, `font-weight="bold">backup b<`, `opacity="0.6">faint<`,
		`fill="#f14c4c" font-weight="bold">lines<`, `textLength="8.4">.<`,
	} {
		if !strings.Contains(svg, want) {
			t.Errorf("the image does not contain %s:\n%s", want, svg)
		}
	}
}

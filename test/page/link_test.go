// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package page

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// anchors are the names by which a page's headings are linked to, as GitHub makes them.
func anchors(content string) []string {
	var names []string
	for line := range strings.Lines(content) {
		found := heading.FindStringSubmatch(strings.TrimSpace(line))
		if found == nil {
			continue
		}
		name := strings.ToLower(strings.ReplaceAll(found[1], " ", "-"))
		names = append(names, regexp.MustCompile(`[^a-z0-9_-]`).ReplaceAllString(name, ""))
	}
	return names
}

// TestLinks follows each link between the pages, and wants every page of docs to be found from the README.
func TestLinks(t *testing.T) {
	repository := filepath.Join("..", "..")
	files, err := Files(repository)
	if err != nil {
		t.Fatal(err)
	}
	fromReadme := map[string]bool{"README.md": true}
	for _, file := range files {
		content, err := os.ReadFile(filepath.Join(repository, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range link.FindAllStringSubmatch(string(content), -1) {
			path, anchor, _ := strings.Cut(found[1], "#")
			if strings.Contains(path, "://") {
				continue
			}
			target := file
			if path != "" {
				target = filepath.Join(filepath.Dir(file), path)
			}
			if file == "README.md" {
				fromReadme[target] = true
			}
			linked, err := os.ReadFile(filepath.Join(repository, target))
			if info, statErr := os.Stat(filepath.Join(repository, target)); statErr == nil && info.IsDir() {
				err = nil
			}
			if err != nil {
				t.Errorf("%s links to %s: %v", file, found[1], err)
			}
			if anchor != "" && !slices.Contains(anchors(string(linked)), anchor) {
				t.Errorf("%s links to %s: the headings there are %v", file, found[1], anchors(string(linked)))
			}
		}
	}
	for _, file := range files {
		if !fromReadme[file] {
			t.Errorf("the README links to no %s", file)
		}
	}
}

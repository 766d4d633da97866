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

// anchors returns the anchors of a page's headings, as GitHub creates them.
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

// TestLinks follows each link between the pages. The README must link to every page, or to the README of its directory
// that links to it.
func TestLinks(t *testing.T) {
	repository := filepath.Join("..", "..")
	files, err := Files(repository)
	if err != nil {
		t.Fatal(err)
	}
	records, err := Records(repository)
	if err != nil {
		t.Fatal(err)
	}
	links := map[string][]string{}
	for _, file := range slices.Concat(files, records) {
		links[file] = followLinks(t, repository, file)
	}
	for _, file := range files[1:] {
		if !slices.Contains(links["README.md"], file) {
			t.Errorf("the README has no link to %s", file)
		}
	}
	if len(records) == 0 {
		t.Error("there are no pages in directories of docs")
	}
	for _, file := range records {
		index := filepath.Join(filepath.Dir(file), "README.md")
		if !slices.Contains(links["README.md"], index) {
			t.Errorf("the README has no link to %s", index)
		}
		if file != index && !slices.Contains(links[index], file) {
			t.Errorf("%s has no link to %s", index, file)
		}
	}
}

// followLinks reports links of a page to files and headings that do not exist, and returns the files that it links to.
func followLinks(t *testing.T, repository, file string) []string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(repository, file))
	if err != nil {
		t.Fatal(err)
	}
	var targets []string
	for _, found := range link.FindAllStringSubmatch(string(content), -1) {
		path, anchor, _ := strings.Cut(found[1], "#")
		if strings.Contains(path, "://") {
			continue
		}
		target := file
		if path != "" {
			target = filepath.Join(filepath.Dir(file), path)
		}
		targets = append(targets, target)
		linked, err := os.ReadFile(filepath.Join(repository, target))
		if info, statErr := os.Stat(filepath.Join(repository, target)); statErr == nil && info.IsDir() {
			err = nil
		}
		if err != nil {
			t.Errorf("%s links to %s: %v", file, found[1], err)
		}
		if anchor != "" && !slices.Contains(anchors(string(linked)), anchor) {
			t.Errorf("%s links to %s, which has only the headings %v", file, found[1], anchors(string(linked)))
		}
	}
	return targets
}

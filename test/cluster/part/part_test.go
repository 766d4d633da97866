// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package part

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestVersionsAreThoseOfGoMod(t *testing.T) {
	for _, p := range All() {
		content, err := os.ReadFile(filepath.Join("..", "parts", p.Name, "go.mod"))
		if err != nil {
			t.Fatal(err)
		}
		required := regexp.MustCompile(`(?m)^(?:require|\t)\s*` + regexp.QuoteMeta(p.Module) + ` (\S+)(?: // indirect)?$`)
		match := required.FindStringSubmatch(string(content))
		if match == nil || match[1] != p.Version {
			t.Errorf("%s: go.mod requires %v, want %s", p.Name, match, p.Version)
		}
		for i := range p.Packages {
			if !strings.Contains(string(content), "tool "+p.importPath(i)+"\n") &&
				!strings.Contains(string(content), "\t"+p.importPath(i)+"\n") {
				t.Errorf("%s: go.mod does not have the tool %s", p.Name, p.importPath(i))
			}
		}
	}
}

func TestFolderChangesWithEveryInput(t *testing.T) {
	repository := t.TempDir()
	p := Part{Name: "p", Module: "example.org/p", Version: "v1.0.0", Packages: []string{"cmd/p"}}
	source := filepath.Join(repository, partsFolder, p.Name)
	if err := os.MkdirAll(source, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name, content string) {
		if err := os.WriteFile(filepath.Join(source, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module p")
	write("go.sum", "p v1.0.0 h1:a")
	cache := Cache{Root: "/cache", Repository: repository}
	seen := map[string]string{}
	note := func(what string, p Part) {
		folder, err := cache.folder(p)
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := seen[folder]; ok {
			t.Errorf("%s has the same directory as %s", what, other)
		}
		seen[folder] = what
	}
	note("the part", p)
	variable := p
	variable.Variables = []string{"main.version=v1"}
	note("a part with a variable", variable)
	write("go.sum", "p v1.0.0 h1:b")
	note("a part with another checksum", p)
}

func TestUnknownProgramIsNamed(t *testing.T) {
	cache := Cache{Root: t.TempDir(), Repository: filepath.Join("..", "..", "..")}
	// cspell:ignore kubctl
	if err := cache.Build(t.Context(), os.Stderr, "kubctl"); err == nil || !strings.Contains(err.Error(), "kubctl") {
		t.Errorf("got %v, want an error that names kubctl", err)
	}
	if _, err := cache.Binary("kubectl"); err == nil || !strings.Contains(err.Error(), "test/cluster build") {
		t.Errorf("got %v, want an error with the command that builds it", err)
	}
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/velero-restic/velero-plugin-for-restic/internal/image"
	"github.com/velero-restic/velero-plugin-for-restic/internal/version"
)

const top = "../../.." // the repository's top folder, from here

var dockerfiles = map[string]string{
	"velero-plugin-for-restic":     "Dockerfile.plugin",
	"velero-restic-agent":          "Dockerfile.agent",
	"velero-restic-restore-helper": "helper-image/Dockerfile",
}

// content is what an image holds and how it starts, as far as both ways of making it can be compared without building.
type content struct {
	Files       map[string]fs.FileMode // regular files, and directories whose mode is not 0755 (with a trailing slash)
	Entrypoint  []string
	Environment []string
	User        string
	Labels      map[string]string
}

func TestDockerfilesBuildTheSameImages(t *testing.T) {
	const tag = "v9.9.9"
	for _, product := range products("ca.crt") {
		t.Run(product.name, func(t *testing.T) {
			path := dockerfiles[product.name]
			spec := product.spec(options{registry: "velero", version: tag, architecture: "amd64", binaries: "bin"})
			got := parseDockerfile(t, path, map[string]string{"VERSION": tag})
			if diff := cmp.Diff(contentOf(spec), got.content(t)); diff != "" {
				t.Errorf("%s departs from product.go (-product +%s):\n%s", path, path, diff)
			}
			got.checkCopies(t, product.files)
		})
	}
}

func contentOf(spec image.Spec) content {
	c := content{
		Files:      map[string]fs.FileMode{},
		Entrypoint: spec.Entrypoint, Environment: spec.Env, User: spec.User, Labels: spec.Labels,
	}
	for _, file := range spec.Files {
		c.Files[file.Path] = file.Mode
	}
	return c
}

// dockerfile is a build stage that gathers a root file system in /rootfs, and a final stage that copies it.
type dockerfile struct {
	build, final []instruction
}

type instruction struct{ keyword, rest string }

func parseDockerfile(t *testing.T, path string, arguments map[string]string) dockerfile {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(top, path))
	if err != nil {
		t.Fatal(err)
	}
	var d dockerfile
	stages := 0
	for _, i := range instructions(string(text)) {
		i.rest = os.Expand(i.rest, func(name string) string {
			if value, ok := arguments[name]; ok {
				return value
			}
			return "$" + name
		})
		if i.keyword == "FROM" {
			stages++
		}
		if stages == 1 {
			d.build = append(d.build, i)
		} else {
			d.final = append(d.final, i)
		}
	}
	if stages != 2 || len(d.final) == 0 || d.final[0].rest != "scratch" {
		t.Fatalf("%s has %d stages, the last from %v; want two, the last from scratch", path, stages, d.final)
	}
	return d
}

// instructions joins continued lines and leaves out comments.
func instructions(text string) []instruction {
	var list []instruction
	var whole string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		more, continued := strings.CutSuffix(line, `\`)
		whole += more + " "
		if continued {
			continue
		}
		keyword, rest, _ := strings.Cut(strings.Join(strings.Fields(whole), " "), " ")
		list = append(list, instruction{strings.ToUpper(keyword), rest})
		whole = ""
	}
	return list
}

var label = regexp.MustCompile(`([^\s=]+)="([^"]*)"`)

// content is what the final stage makes. Anything that it does beside the known is a reason to fail.
func (d dockerfile) content(t *testing.T) content {
	t.Helper()
	c := content{Files: map[string]fs.FileMode{}, Labels: map[string]string{}}
	for _, i := range d.final[1:] {
		switch i.keyword {
		case "ARG":
		case "COPY":
			if i.rest != "--from=build /rootfs/ /" {
				t.Errorf("COPY %s is not understood by this test", i.rest)
			}
			c.Files = d.rootfs(t)
		case "ENTRYPOINT":
			if err := json.Unmarshal([]byte(i.rest), &c.Entrypoint); err != nil {
				t.Errorf("ENTRYPOINT %s is not a list of arguments: %v", i.rest, err)
			}
		case "USER":
			c.User = i.rest
		case "ENV":
			c.Environment = append(c.Environment, strings.Fields(i.rest)...)
		case "LABEL":
			for _, match := range label.FindAllStringSubmatch(i.rest, -1) {
				c.Labels[match[1]] = match[2]
			}
		default:
			t.Errorf("%s %s is not understood by this test", i.keyword, i.rest)
		}
	}
	return c
}

var (
	built     = regexp.MustCompile(`-o /rootfs(/\S+)`)
	directory = regexp.MustCompile(`install -d -m ([0-7]+) (/rootfs/?.*?)(?: &&|$)`)
	copied    = regexp.MustCompile(`install -D -m ([0-7]+) (\S+) /rootfs(/\S+)`)
)

// rootfs collects what the build stage puts there: go build makes files of mode 0755, install says the mode.
func (d dockerfile) rootfs(t *testing.T) map[string]fs.FileMode {
	t.Helper()
	files := map[string]fs.FileMode{}
	known := 0
	for _, i := range d.build {
		if i.keyword != "RUN" {
			continue
		}
		for _, match := range built.FindAllStringSubmatch(i.rest, -1) {
			files[match[1]] = 0o755
			known++
		}
		for _, match := range copied.FindAllStringSubmatch(i.rest, -1) {
			files[match[3]] = mode(t, match[1])
			known++
		}
		for _, match := range directory.FindAllStringSubmatch(i.rest, -1) {
			for path := range strings.FieldsSeq(match[2]) {
				known++
				if m := mode(t, match[1]); m != 0o755 {
					files[strings.TrimPrefix(path, "/rootfs")+"/"] = m
				}
			}
		}
		known -= strings.Count(i.rest, "/rootfs") - strings.Count(i.rest, "build/rootfs/")
	}
	if known != 0 {
		t.Errorf("%d mentions of /rootfs are not understood by this test", -known)
	}
	return files
}

func mode(t *testing.T, digits string) fs.FileMode {
	t.Helper()
	bits, err := strconv.ParseUint(digits, 8, 12)
	if err != nil {
		t.Fatal(err)
	}
	m := fs.FileMode(bits) & fs.ModePerm
	if bits&0o1000 != 0 {
		m |= fs.ModeSticky
	}
	return m
}

// checkCopies reads the sources of copied files where they lie in this repository.
func (d dockerfile) checkCopies(t *testing.T, files []image.File) {
	t.Helper()
	sources := map[string]string{}
	for _, i := range d.build {
		for _, match := range copied.FindAllStringSubmatch(i.rest, -1) {
			sources[match[3]] = match[2]
		}
	}
	for _, file := range files {
		if file.Content == nil {
			continue
		}
		got, err := os.ReadFile(filepath.Join(top, sources[file.Path]))
		if err != nil || !bytes.Equal(got, file.Content) {
			t.Errorf("%s is copied from %q and holds %q (%v), want %q",
				file.Path, sources[file.Path], got, err, file.Content)
		}
	}
}

func TestDockerfileBuildsThePinnedRestic(t *testing.T) {
	module, err := os.ReadFile(filepath.Join(top, "agent/restic/go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	pin := regexp.MustCompile(`github\.com/restic/restic v(\S+)`).FindSubmatch(module)
	if pin == nil {
		t.Fatal("agent/restic/go.mod pins no restic")
	}
	if string(pin[1]) != version.Restic {
		t.Errorf("agent/restic/go.mod pins %s, internal/version says %s", pin[1], version.Restic)
	}
	text, err := os.ReadFile(filepath.Join(top, "Dockerfile.agent"))
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("-X main.version=%s\"", pin[1]); !strings.Contains(string(text), want) {
		t.Errorf("Dockerfile.agent does not say %s, which agent/restic/go.mod pins", want)
	}
}

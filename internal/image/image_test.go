// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

type packed struct {
	Name, Link, Content string
	Type                byte
	Mode                int64
	UID, GID            int
	Unix                int64
}

func TestWriteRoundTrip(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "binary")
	if err := os.WriteFile(binary, []byte("\x7fELF"), 0o600); err != nil {
		t.Fatal(err)
	}
	spec := Spec{
		Reference:    "velero/sample:v1.2.3",
		Architecture: "arm64",
		Files: []File{
			{Path: "/usr/local/bin/tool", Mode: 0o755, Source: binary, UID: 1, GID: 2},
			{Path: "/tmp/", Mode: 0o777 | fs.ModeSticky},
			{Path: "/etc/motd", Mode: 0o644, Content: []byte("hello\n")},
			{Path: "/bin/tool", Mode: 0o777, Link: "/usr/local/bin/tool"},
			{Path: "/empty", Mode: 0o400},
		},
		Entrypoint: []string{"/usr/local/bin/tool"},
		Cmd:        []string{"--help"},
		Env:        []string{"HOME=/tmp"},
		User:       "65532:65532",
		WorkingDir: "/tmp",
		Labels:     map[string]string{"org.opencontainers.image.version": "v1.2.3"},
	}
	archive := filepath.Join(t.TempDir(), "images", "sample.tar")
	if err := Write(archive, spec); err != nil {
		t.Fatal(err)
	}

	img := readBack(t, archive, spec.Reference)
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	wantConfig := v1.Config{
		Entrypoint: spec.Entrypoint, Cmd: spec.Cmd, Env: spec.Env, User: spec.User,
		WorkingDir: spec.WorkingDir, Labels: spec.Labels,
	}
	if diff := cmp.Diff(wantConfig, config.Config); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
	if config.OS != "linux" || config.Architecture != "arm64" || config.Created.Unix() != 0 {
		t.Errorf("platform %s/%s created %s", config.OS, config.Architecture, config.Created)
	}
	want := []packed{
		{Name: "bin/", Type: tar.TypeDir, Mode: 0o755},
		{Name: "bin/tool", Type: tar.TypeSymlink, Mode: 0o777, Link: "/usr/local/bin/tool"},
		{Name: "empty", Type: tar.TypeReg, Mode: 0o400},
		{Name: "etc/", Type: tar.TypeDir, Mode: 0o755},
		{Name: "etc/motd", Type: tar.TypeReg, Mode: 0o644, Content: "hello\n"},
		{Name: "tmp/", Type: tar.TypeDir, Mode: 0o1777},
		{Name: "usr/", Type: tar.TypeDir, Mode: 0o755},
		{Name: "usr/local/", Type: tar.TypeDir, Mode: 0o755},
		{Name: "usr/local/bin/", Type: tar.TypeDir, Mode: 0o755},
		{Name: "usr/local/bin/tool", Type: tar.TypeReg, Mode: 0o755, Content: "\x7fELF", UID: 1, GID: 2},
	}
	if diff := cmp.Diff(want, unpack(t, img)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func readBack(t *testing.T, archive, reference string) v1.Image {
	t.Helper()
	tag, err := name.NewTag(reference)
	if err != nil {
		t.Fatal(err)
	}
	img, err := tarball.ImageFromPath(archive, &tag)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(img); err != nil {
		t.Fatalf("the archive is not valid: %v", err)
	}
	return img
}

func unpack(t *testing.T, img v1.Image) []packed {
	t.Helper()
	layers, err := img.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	stream, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Close() }() // read only: nothing can be lost
	var entries []packed
	for reader := tar.NewReader(stream); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return entries
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, packed{
			Name: header.Name, Link: header.Linkname, Content: string(content), Type: header.Typeflag,
			Mode: header.Mode, UID: header.Uid, GID: header.Gid, Unix: header.ModTime.Unix(),
		})
	}
}

func TestWriteTwiceGivesTheSameBytes(t *testing.T) {
	files := []File{
		{Path: "/a", Mode: 0o644, Content: []byte("a")},
		{Path: "/d/b", Mode: 0o644, Content: bytes.Repeat([]byte("b"), 1<<20)},
	}
	spec := Spec{
		Reference: "velero/sample:v1", Architecture: "amd64", Files: files,
		Labels: map[string]string{"one": "1", "two": "2", "three": "3"},
	}
	swapped := spec
	swapped.Files = []File{files[1], files[0]}

	dir := t.TempDir()
	first, second := filepath.Join(dir, "first.tar"), filepath.Join(dir, "second.tar")
	for archive, spec := range map[string]Spec{first: spec, second: swapped} {
		if err := Write(archive, spec); err != nil {
			t.Fatal(err)
		}
	}
	one, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	two, err := os.ReadFile(second)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one, two) {
		t.Error("the order of the files changed the archive")
	}
}

func TestWriteRefuses(t *testing.T) {
	valid := Spec{Reference: "velero/sample:v1", Architecture: "amd64"}
	with := func(files ...File) Spec {
		spec := valid
		spec.Files = files
		return spec
	}
	cases := map[string]struct {
		spec Spec
		want string
	}{
		"a reference without a tag":      {Spec{Reference: "localhost:5000/sample", Architecture: "amd64"}, "has no tag"},
		"a reference that is none":       {Spec{Reference: "Sample:v1", Architecture: "amd64"}, "parsing image reference"},
		"no architecture":                {Spec{Reference: "velero/sample:v1"}, "architecture is empty"},
		"a relative path":                {with(File{Path: "bin/tool"}), "not an absolute"},
		"a path that climbs":             {with(File{Path: "/bin/../tool"}), "not an absolute"},
		"the root itself":                {with(File{Path: "/"}), "not an absolute"},
		"the same path twice":            {with(File{Path: "/a/"}, File{Path: "/a"}), "twice"},
		"a file below a file":            {with(File{Path: "/a"}, File{Path: "/a/b"}), "not a directory"},
		"a link that has content":        {with(File{Path: "/a", Link: "/b", Content: []byte("c")}), "more than one"},
		"sticky written as a unix digit": {with(File{Path: "/tmp/", Mode: 0o1777}), "unknown bits"},
		"a source that is missing":       {with(File{Path: "/a", Source: "/does/not/exist"}), "packing /a"},
		"a source that is a directory":   {with(File{Path: "/a", Source: os.TempDir()}), "not a regular file"},
	}
	for sentence, tc := range cases {
		t.Run(sentence, func(t *testing.T) {
			dir := t.TempDir()
			err := Write(filepath.Join(dir, "sample.tar"), tc.spec)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want a message with %q", err, tc.want)
			}
			if left, _ := os.ReadDir(dir); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

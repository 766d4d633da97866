// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// program is the start of a 64-bit ELF file for the machine, with one segment of the given type.
func program(t *testing.T, machine elf.Machine, segment elf.ProgType) []byte {
	t.Helper()
	header := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT),
		Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1,
	}
	copy(header.Ident[:], elf.ELFMAG)
	header.Ident[elf.EI_CLASS] = byte(elf.ELFCLASS64)
	header.Ident[elf.EI_DATA] = byte(elf.ELFDATA2LSB)
	header.Ident[elf.EI_VERSION] = byte(elf.EV_CURRENT)
	var buffer bytes.Buffer
	for _, part := range []any{header, elf.Prog64{Type: uint32(segment)}} {
		if err := binary.Write(&buffer, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	return buffer.Bytes()
}

// binaries makes a folder with everything that the images need.
func binaries(t *testing.T, content []byte) string {
	t.Helper()
	dir := t.TempDir()
	for _, product := range products("") {
		for _, binary := range product.binaries {
			if err := os.WriteFile(filepath.Join(dir, binary), content, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

func TestRunWritesTheImages(t *testing.T) {
	foreign := "arm64"
	if runtime.GOARCH == foreign {
		foreign = "amd64"
	}
	for architecture, suffix := range map[string]string{runtime.GOARCH: "", foreign: "-" + foreign} {
		t.Run(architecture, func(t *testing.T) {
			certificates := filepath.Join(t.TempDir(), "ca.crt")
			if err := os.WriteFile(certificates, []byte("-----BEGIN CERTIFICATE-----\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			o, err := parse([]string{
				"--arch", architecture, "--version", "v1.2.3", "--out", t.TempDir(), "--registry", "quay.io/velero",
				"--bin", binaries(t, program(t, machines()[architecture], elf.PT_LOAD)), "--certificates", certificates,
			}, io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			if err := run(o, io.Discard); err != nil {
				t.Fatal(err)
			}
			for _, product := range products("") {
				path := filepath.Join(o.out, product.name+suffix+".tar")
				checkImage(t, path, "quay.io/velero/"+product.name+":v1.2.3", architecture)
			}
		})
	}
}

func checkImage(t *testing.T, path, reference, architecture string) {
	t.Helper()
	tag, err := name.NewTag(reference)
	if err != nil {
		t.Fatal(err)
	}
	img, err := tarball.ImageFromPath(path, &tag)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(img); err != nil {
		t.Errorf("%s: %v", path, err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Architecture != architecture || config.OS != "linux" {
		t.Errorf("%s is for %s/%s", path, config.OS, config.Architecture)
	}
}

func TestRunRefusesBinariesThatCouldNotStart(t *testing.T) {
	cases := map[string]struct {
		content []byte
		want    string
	}{
		"built for another machine": {program(t, elf.EM_AARCH64, elf.PT_LOAD), "GOARCH=amd64"},
		"dynamically linked":        {program(t, elf.EM_X86_64, elf.PT_INTERP), "CGO_ENABLED=0"},
		"not a program":             {[]byte("#!/bin/sh\n"), "reading "},
	}
	for sentence, tc := range cases {
		t.Run(sentence, func(t *testing.T) {
			o := options{architecture: "amd64", version: "v1", registry: "velero", out: t.TempDir()}
			o.binaries = binaries(t, tc.content)
			if err := run(o, io.Discard); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want a message with %q", err, tc.want)
			}
			if left, _ := os.ReadDir(o.out); len(left) != 0 {
				t.Errorf("wrote %v", left)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	cases := map[string]struct {
		arguments []string
		want      string
	}{
		"no version":              {[]string{"--arch", "amd64"}, "--version is missing"},
		"an unknown architecture": {[]string{"--arch", "x86_64", "--version", "v1"}, "--arch"},
		"a stray argument":        {[]string{"--version", "v1", "amd64"}, `"amd64"`},
	}
	for sentence, tc := range cases {
		t.Run(sentence, func(t *testing.T) {
			if _, err := parse(tc.arguments, io.Discard); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want a message with %q", err, tc.want)
			}
		})
	}
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Command build writes the project's images as files, from binaries that are built already and without a container
// engine:
//
//	go run ./internal/image/build --arch amd64 --version v1.0.0 --bin bin/amd64 --out dist/images
package main

import (
	"debug/elf"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/velero-restic/velero-plugin-for-restic/internal/image"
)

func main() {
	o, err := parse(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		os.Exit(2)
	}
	if err := run(o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		os.Exit(1)
	}
}

// machines are the architectures that there are images for, as Go and as ELF name them.
func machines() map[string]elf.Machine {
	return map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}
}

type options struct {
	architecture, version, registry string
	binaries, certificates, out     string
}

func parse(arguments []string, output io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("build", flag.ContinueOnError)
	flags.SetOutput(output)
	flags.StringVar(&o.architecture, "arch", runtime.GOARCH, "architecture of the binaries: amd64 or arm64")
	flags.StringVar(&o.version, "version", "", "tag of the images, such as v1.0.0")
	flags.StringVar(&o.registry, "registry", "velero", "what comes before the images' names, such as quay.io/velero")
	flags.StringVar(&o.binaries, "bin", "", "folder of the built binaries (default bin/ARCH)")
	flags.StringVar(&o.certificates, "certificates", certificates, "CA certificates for the agent's image")
	flags.StringVar(&o.out, "out", "dist/images", "folder to write the images to")
	if err := flags.Parse(arguments); err != nil {
		return options{}, err
	}
	if flags.NArg() > 0 {
		return options{}, fmt.Errorf("argument %q is not understood: there are only flags", flags.Arg(0))
	}
	if _, ok := machines()[o.architecture]; !ok {
		return options{}, fmt.Errorf("--arch %q is not supported: give amd64 or arm64", o.architecture)
	}
	if o.version == "" {
		return options{}, errors.New("--version is missing: give the tag of the images, such as v1.0.0")
	}
	if o.binaries == "" {
		o.binaries = filepath.Join("bin", o.architecture)
	}
	return o, nil
}

func run(o options, output io.Writer) error {
	for _, product := range products(o.certificates) {
		for _, binary := range product.binaries {
			if err := checkBinary(filepath.Join(o.binaries, binary), o.architecture); err != nil {
				return fmt.Errorf("checking binaries of %s: %w", product.name, err)
			}
		}
		spec, path := product.spec(o), filepath.Join(o.out, fileName(product.name, o.architecture))
		if err := image.Write(path, spec); err != nil {
			return err
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		fmt.Fprintf(output, "%s  %s linux/%s  %.1f MiB\n",
			path, spec.Reference, spec.Architecture, float64(info.Size())/(1<<20))
	}
	return nil
}

// fileName marks the images of another architecture than this machine's, so that both can lie in one folder.
func fileName(name, architecture string) string {
	if architecture == runtime.GOARCH {
		return name + ".tar"
	}
	return name + "-" + architecture + ".tar"
}

// checkBinary refuses what could never start in an image from scratch: another architecture, or a binary that asks for
// a dynamic linker.
func checkBinary(path, architecture string) error {
	file, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	defer func() { _ = file.Close() }() // read only: nothing can be lost
	if file.Machine != machines()[architecture] {
		return fmt.Errorf("%s is built for %s, not for %s: build it with GOARCH=%s",
			path, file.Machine, architecture, architecture)
	}
	dynamic := func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }
	if slices.ContainsFunc(file.Progs, dynamic) {
		return fmt.Errorf("%s is dynamically linked: build it with CGO_ENABLED=0", path)
	}
	return nil
}

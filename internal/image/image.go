// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package image writes container images to files without a container engine.
//
// The files are docker-archives: what `docker load`, `ctr images import` and `kind load image-archive` read.
// The same input always gives the same bytes, so that two builds of one commit can be compared.
package image

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Spec says what an image is called, what it holds and how it is started.
type Spec struct {
	// Reference is the name the image is loaded under, with an explicit tag: velero/velero-restic-agent:v1.0.0.
	Reference string
	// Architecture is Go's name of the processor the binaries are for: amd64, arm64.
	Architecture string
	// Files are the content, in any order; missing parent directories are added, owned by root, mode 0755.
	Files []File
	// Entrypoint and Cmd are argument lists, never run through a shell.
	Entrypoint, Cmd []string
	// Env holds NAME=value pairs.
	Env []string
	// User is uid or uid:gid in digits, so that Kubernetes can see whether it is root (runAsNonRoot).
	User string
	// WorkingDir is an absolute path, or empty for /.
	WorkingDir string
	// Labels are the annotations of the image's configuration.
	Labels map[string]string
}

// Write makes the image and puts it at path, whole or not at all: the file appears by a rename.
//
// An error says which reference or file of the specification it is about. Errors of the file system come back wrapped.
func Write(path string, spec Spec) error {
	tag, err := spec.tag()
	if err != nil {
		return err
	}
	img, err := spec.build()
	if err != nil {
		return fmt.Errorf("making image %s: %w", spec.Reference, err)
	}
	err = replaceFile(path, func(w io.Writer) error { return tarball.Write(tag, img, w) })
	if err != nil {
		return fmt.Errorf("writing image %s: %w", spec.Reference, err)
	}
	return nil
}

// tag refuses a reference without a tag: the library would quietly call it latest.
func (s Spec) tag() (name.Tag, error) {
	if !strings.Contains(s.Reference[strings.LastIndex(s.Reference, "/")+1:], ":") {
		return name.Tag{}, fmt.Errorf("image reference %q has no tag: write it as name:version", s.Reference)
	}
	tag, err := name.NewTag(s.Reference)
	if err != nil {
		return name.Tag{}, fmt.Errorf("parsing image reference %q: %w", s.Reference, err)
	}
	return tag, nil
}

func (s Spec) build() (v1.Image, error) {
	if s.Architecture == "" {
		return nil, errors.New("architecture is empty: give amd64 or arm64")
	}
	entries, err := layout(s.Files)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(
		func() (io.ReadCloser, error) { return openLayer(entries), nil },
		tarball.WithCompressedCaching, tarball.WithCompressionLevel(gzip.DefaultCompression))
	if err != nil {
		return nil, fmt.Errorf("packing files: %w", err)
	}
	created := v1.Time{Time: time.Unix(0, 0).UTC()}
	img, err := mutate.Append(empty.Image, mutate.Addendum{
		Layer:   layer,
		History: v1.History{Created: created, CreatedBy: "internal/image"},
	})
	if err != nil {
		return nil, fmt.Errorf("adding the layer: %w", err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = "linux", s.Architecture, created
	config.Config = v1.Config{
		Entrypoint: s.Entrypoint, Cmd: s.Cmd, Env: s.Env,
		User: s.User, WorkingDir: s.WorkingDir, Labels: s.Labels,
	}
	return mutate.ConfigFile(img, config)
}

// replaceFile never leaves half a file under path.
func replaceFile(path string, write func(io.Writer) error) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(temporary.Name()))
		}
	}()
	if err := errors.Join(write(temporary), temporary.Chmod(0o644), temporary.Close()); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), path)
}

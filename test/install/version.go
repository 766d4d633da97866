// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package install

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Version returns the tag of the plugin's image in a directory of archives from `make images`.
//
// It reads the tag from the manifest.json of the archive (docker-archive format). It fails if there is none.
func Version(images string) (string, error) {
	file, err := os.Open(filepath.Join(images, pluginArchive))
	if err != nil {
		return "", fmt.Errorf("reading the version (build the images with `make images`): %w", err)
	}
	defer func() { _ = file.Close() }() // read-only, so an error loses nothing
	reader := tar.NewReader(file)
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return "", fmt.Errorf("reading the version: %s has no manifest.json", file.Name())
		}
		if err != nil {
			return "", fmt.Errorf("reading the version from %s: %w", file.Name(), err)
		}
		if header.Name == "manifest.json" {
			return tagOf(reader)
		}
	}
}

func tagOf(manifest io.Reader) (string, error) {
	var images []struct {
		RepoTags []string
	}
	if err := json.NewDecoder(manifest).Decode(&images); err != nil {
		return "", fmt.Errorf("reading the version from manifest.json: %w", err)
	}
	for _, image := range images {
		for _, name := range image.RepoTags {
			if tag, found := strings.CutPrefix(name, pluginImage+":"); found {
				return tag, nil
			}
		}
	}
	return "", fmt.Errorf("reading the version: manifest.json does not name %s", pluginImage)
}

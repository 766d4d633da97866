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

// Version is the tag of the plugin's image in a folder of archives that `make images` wrote.
//
// It is read from the archive's manifest.json (docker-archive format). The error says when there is none.
func Version(images string) (string, error) {
	file, err := os.Open(filepath.Join(images, pluginArchive))
	if err != nil {
		return "", fmt.Errorf("reading the version (make the images with `make images`): %w", err)
	}
	defer func() { _ = file.Close() }() // read only: nothing can be lost
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
	return "", fmt.Errorf("reading the version: manifest.json names no %s", pluginImage)
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package image

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// File is one entry of an image: a directory, a symbolic link or a regular file.
type File struct {
	// Path is absolute and clean; a trailing slash makes it a directory.
	Path string
	// Mode holds permissions, and fs.ModeSetuid, fs.ModeSetgid and fs.ModeSticky where they are meant.
	Mode fs.FileMode
	// Source names the file to copy. Without it and without Link, the entry is a file that holds Content.
	Source string
	// Content is what a regular file without Source holds.
	Content []byte
	// UID and GID are the owner's numbers.
	UID, GID int
	// Link is the target of a symbolic link.
	Link string
}

// directory is what parents are made with when the specification does not name them.
func directory(name string) File { return File{Path: name + "/", Mode: 0o755} }

func (f File) isDirectory() bool { return strings.HasSuffix(f.Path, "/") }

// name is the entry's path without the slash that marks a directory.
func (f File) name() string { return strings.TrimSuffix(f.Path, "/") }

func (f File) validate() error {
	name := f.name()
	if !path.IsAbs(name) || path.Clean(name) != name || name == "/" {
		return fmt.Errorf("file path %q is not an absolute, clean path below /", f.Path)
	}
	const known = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky
	if f.Mode&^known != 0 {
		return fmt.Errorf("mode %#o of %s has unknown bits: write special ones as fs.ModeSticky and the like",
			uint32(f.Mode), f.Path)
	}
	kinds := 0
	for _, given := range []bool{f.isDirectory(), f.Link != "", f.Source != "", f.Content != nil} {
		if given {
			kinds++
		}
	}
	if kinds > 1 {
		return fmt.Errorf("%s is more than one of directory, link, copied file and given content", f.Path)
	}
	return nil
}

// layout adds the parents that are missing and sorts, so that every directory comes before what it holds.
func layout(files []File) ([]File, error) {
	entries := make(map[string]File, len(files))
	for _, file := range files {
		if err := file.validate(); err != nil {
			return nil, err
		}
		if _, ok := entries[file.name()]; ok {
			return nil, fmt.Errorf("%s is in the image twice", file.name())
		}
		entries[file.name()] = file
	}
	for _, file := range files {
		for parent := path.Dir(file.name()); parent != "/"; parent = path.Dir(parent) {
			existing, ok := entries[parent]
			if ok && !existing.isDirectory() {
				return nil, fmt.Errorf("%s lies below %s, which is not a directory", file.Path, parent)
			}
			if !ok {
				entries[parent] = directory(parent)
			}
		}
	}
	sorted := make([]File, 0, len(entries))
	for _, entry := range entries {
		sorted = append(sorted, entry)
	}
	slices.SortFunc(sorted, func(a, b File) int { return strings.Compare(a.name(), b.name()) })
	return sorted, nil
}

// openLayer streams the entries as a tar. The caller closes it, even half read.
func openLayer(entries []File) io.ReadCloser {
	reader, writer := io.Pipe()
	go func() { writer.CloseWithError(writeLayer(writer, entries)) }()
	return reader
}

func writeLayer(w io.Writer, entries []File) error {
	archive := tar.NewWriter(w)
	for _, entry := range entries {
		if err := writeEntry(archive, entry); err != nil {
			return fmt.Errorf("packing %s: %w", entry.Path, err)
		}
	}
	return archive.Close()
}

func writeEntry(archive *tar.Writer, entry File) error {
	header := &tar.Header{
		Name:    strings.TrimPrefix(entry.Path, "/"),
		Mode:    unixMode(entry.Mode),
		Uid:     entry.UID,
		Gid:     entry.GID,
		ModTime: time.Unix(0, 0).UTC(),
		Format:  tar.FormatPAX,
	}
	switch {
	case entry.isDirectory():
		header.Typeflag = tar.TypeDir
		return archive.WriteHeader(header)
	case entry.Link != "":
		header.Typeflag, header.Linkname = tar.TypeSymlink, entry.Link
		return archive.WriteHeader(header)
	case entry.Source != "":
		return copySource(archive, header, entry.Source)
	}
	return writeRegular(archive, header, bytes.NewReader(entry.Content), int64(len(entry.Content)))
}

func copySource(archive *tar.Writer, header *tar.Header, source string) error {
	file, err := os.Open(source)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // read only: nothing can be lost
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", source)
	}
	return writeRegular(archive, header, file, info.Size())
}

func writeRegular(archive *tar.Writer, header *tar.Header, content io.Reader, size int64) error {
	header.Typeflag, header.Size = tar.TypeReg, size
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err := io.Copy(archive, content)
	return err
}

// unixMode moves Go's special bits to where tar (and chmod) has them.
func unixMode(mode fs.FileMode) int64 {
	bits := int64(mode.Perm())
	if mode&fs.ModeSetuid != 0 {
		bits |= 0o4000
	}
	if mode&fs.ModeSetgid != 0 {
		bits |= 0o2000
	}
	if mode&fs.ModeSticky != 0 {
		bits |= 0o1000
	}
	return bits
}

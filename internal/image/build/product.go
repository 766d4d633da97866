// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

import (
	_ "embed"
	"io/fs"
	"path/filepath"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/image"
)

// nonRoot is the user and group of the images that need no rights: numbers, so that runAsNonRoot can be checked.
const nonRoot = "65532:65532"

// Where the agent's image has its certificates: Go and restic look here first (go, crypto/x509/root_linux.go).
const certificates = "/etc/ssl/certs/ca-certificates.crt"

// The accounts that restic and people in a debugging container see. The Dockerfile copies the same two files.
var (
	//go:embed rootfs/etc/passwd
	passwd []byte
	//go:embed rootfs/etc/group
	group []byte
)

// resticLicense goes wherever restic's binary goes, as it asks for (restic v0.19.1, LICENSE).
//
//go:embed rootfs/usr/share/licenses/restic/LICENSE
var resticLicense []byte

// product is an image of this project, and the one definition of what is in it: the Dockerfiles are tested against it.
type product struct {
	name        string
	title       string
	licenses    string            // SPDX expression
	binaries    map[string]string // path in the image -> name of the built binary
	files       []image.File      // what is not a binary of ours
	entrypoint  []string
	environment []string
	user        string
}

// products lists the images. The certificates are those of the machine that builds.
func products(certificateFile string) []product {
	return []product{{
		name:     "velero-plugin-for-restic",
		title:    "Velero plugin that backs up pod volumes with restic",
		licenses: "Apache-2.0",
		binaries: map[string]string{
			"/plugins/velero-plugin-for-restic": "velero-plugin-for-restic",
			"/bin/cp-plugin":                    "cp-plugin",
		},
		entrypoint: []string{"/bin/cp-plugin"},
		user:       nonRoot,
	}, {
		name:     "velero-restic-agent",
		title:    "Node agent that moves pod volumes with restic for Velero",
		licenses: "Apache-2.0 AND BSD-2-Clause", // restic's
		binaries: map[string]string{
			"/velero-restic-agent":  "velero-restic-agent",
			"/usr/local/bin/restic": "restic",
		},
		files: []image.File{
			{Path: certificates, Mode: 0o644, Source: certificateFile},
			{Path: "/etc/passwd", Mode: 0o644, Content: passwd},
			{Path: "/etc/group", Mode: 0o644, Content: group},
			{Path: "/usr/share/licenses/restic/LICENSE", Mode: 0o644, Content: resticLicense},
			{Path: "/tmp/", Mode: 0o777 | fs.ModeSticky},
		},
		entrypoint:  []string{"/velero-restic-agent"},
		environment: []string{"PATH=/usr/local/bin"},
		user:        "0", // a volume belongs to anyone, and the agent must read and restore it all
	}, {
		name:       "velero-restic-restore-helper",
		title:      "Init container that waits for restored volumes",
		licenses:   "Apache-2.0",
		binaries:   map[string]string{contract.RestoreHelperCommand: "velero-restic-restore-helper"},
		entrypoint: []string{contract.RestoreHelperCommand},
		user:       nonRoot,
	}}
}

// spec is the image as internal/image writes it, from the binaries in a folder.
func (p product) spec(o options) image.Spec {
	files := append([]image.File(nil), p.files...)
	for path, binary := range p.binaries {
		files = append(files, image.File{Path: path, Mode: 0o755, Source: filepath.Join(o.binaries, binary)})
	}
	return image.Spec{
		Reference:    o.registry + "/" + p.name + ":" + o.version,
		Architecture: o.architecture,
		Files:        files,
		Entrypoint:   p.entrypoint,
		Env:          p.environment,
		User:         p.user,
		Labels: map[string]string{
			"org.opencontainers.image.title":    p.title,
			"org.opencontainers.image.version":  o.version,
			"org.opencontainers.image.licenses": p.licenses,
		},
	}
}

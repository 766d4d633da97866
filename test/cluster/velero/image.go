// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package velero

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/velero-restic/velero-plugin-for-restic/internal/image"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/part"
)

// Images creates the archives of Velero's images from the built parts, and returns their paths. The archives are in the
// cache, next to their programs.
//
// The images have the layout of the published images: see the Dockerfile of each project at the pinned version. They
// have no root certificates, because Velero accesses the bucket without TLS.
func Images(cache part.Cache) ([]string, error) {
	server, err := serverSpec(cache)
	if err != nil {
		return nil, err
	}
	plugin, err := pluginSpec(cache)
	if err != nil {
		return nil, err
	}
	var archives []string
	for _, spec := range []image.Spec{server, plugin} {
		name, _, _ := strings.Cut(path.Base(spec.Reference), ":")
		archive := filepath.Join(filepath.Dir(filepath.Dir(spec.Files[0].Source)), name+".tar")
		if _, err := os.Stat(archive); err != nil {
			if err := image.Write(archive, spec); err != nil {
				return nil, fmt.Errorf("creating image %s: %w", spec.Reference, err)
			}
		}
		archives = append(archives, archive)
	}
	return archives, nil
}

// serverSpec uses the numeric ID of the user cnb of the published image: 1002, group 1000
// (paketobuildpacks/run-jammy-tiny).
func serverSpec(cache part.Cache) (image.Spec, error) {
	spec := image.Spec{
		Reference: ServerImage, Architecture: runtime.GOARCH,
		User: "1002:1000", Env: []string{"PATH=/usr/bin:/bin:/"},
	}
	for _, name := range []string{"velero", "velero-helper", "velero-restore-helper"} {
		program, err := cache.Binary(name)
		if err != nil {
			return image.Spec{}, err
		}
		spec.Files = append(spec.Files, image.File{Path: "/" + name, Mode: 0o755, Source: program})
	}
	spec.Files = append(spec.Files,
		image.File{Path: "/tmp/", Mode: 0o777 | os.ModeSticky},
		image.File{Path: "/root/", Mode: 0o700},
		image.File{Path: "/home/cnb/", Mode: 0o755, UID: 1002, GID: 1000},
		image.File{Path: "/etc/passwd", Mode: 0o644, Content: []byte(
			"root:x:0:0:root:/root:/sbin/nologin\ncnb:x:1002:1000::/home/cnb:/sbin/nologin\n")},
		image.File{Path: "/etc/group", Mode: 0o644, Content: []byte("root:x:0:\ncnb:x:1000:\n")},
	)
	return spec, nil
}

func pluginSpec(cache part.Cache) (image.Spec, error) {
	const plugin = "velero-plugin-for-aws"
	program, err := cache.Binary(plugin)
	if err != nil {
		return image.Spec{}, err
	}
	copier, err := cache.Binary("cp-plugin")
	if err != nil {
		return image.Spec{}, err
	}
	return image.Spec{
		Reference: PluginImage, Architecture: runtime.GOARCH, User: "65532:65532",
		Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		Files: []image.File{
			{Path: "/plugins/" + plugin, Mode: 0o755, Source: program},
			{Path: "/bin/cp-plugin", Mode: 0o755, Source: copier},
		},
		Entrypoint: []string{"cp-plugin", "/plugins/" + plugin, "/target/" + plugin},
	}, nil
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package node

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/velero-restic/velero-plugin-for-restic/internal/image"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/host"
)

// PauseImage is the sandbox image of every pod.
const PauseImage = "velero-restic.test/pause:1"

// BusyboxImage is the image of test pods: Debian's static busybox with all its applets, such as sh.
const BusyboxImage = "busybox:stable"

// Load imports docker-archives, such as those of `make images`, under the names in the archives. It fails if a file is
// missing or invalid.
func (n *Node) Load(ctx context.Context, files ...string) error {
	for _, file := range files {
		if _, err := os.Stat(file); err != nil {
			return fmt.Errorf("loading an image: %w", err)
		}
		if _, err := n.ctr(ctx, "images", "import", "--snapshotter", snapshotter(n.State()), file); err != nil {
			return fmt.Errorf("loading image %s: %w", file, err)
		}
		n.say("loaded %s", filepath.Base(file))
	}
	return nil
}

// ctr runs containerd's client in the namespace of the kubelet.
func (n *Node) ctr(ctx context.Context, args ...string) (string, error) {
	file, err := host.Program("ctr")
	if err != nil {
		return "", err
	}
	socket := []string{"--address", n.containerdSocket(), "--namespace", "k8s.io"}
	cmd := exec.CommandContext(ctx, file, append(socket, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("ctr %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

// createImages writes the images of every cluster, and returns their files.
func (n *Node) createImages(ctx context.Context) ([]string, error) {
	folder := n.path("images")
	pause, err := n.build(ctx, "pause")
	if err != nil {
		return nil, err
	}
	busybox, err := busyboxSpec(ctx)
	if err != nil {
		return nil, err
	}
	specs := []image.Spec{
		{
			Reference: PauseImage, Architecture: runtime.GOARCH, User: "65535:65535",
			Files: []image.File{{Path: "/pause", Mode: 0o755, Source: pause}}, Entrypoint: []string{"/pause"},
		},
		busybox,
	}
	files := make([]string, 0, len(specs))
	for _, spec := range specs {
		name, _, _ := strings.Cut(path.Base(spec.Reference), ":")
		file := filepath.Join(folder, name+".tar")
		if err := image.Write(file, spec); err != nil {
			return nil, fmt.Errorf("creating image %s: %w", spec.Reference, err)
		}
		files = append(files, file)
	}
	return files, nil
}

// build builds a program of the directory test/cluster in the cache, and returns its path. The program is only linked
// again after a change: go build compares the existing file.
func (n *Node) build(ctx context.Context, name string) (string, error) {
	file := n.cache.Own(name)
	build := exec.CommandContext(ctx,
		"go", "build", "-trimpath", "-ldflags", "-s -w", "-o", file, "./test/cluster/"+name)
	build.Dir = n.cache.Repository
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the program %s: %w: %s", name, err, output)
	}
	return file, nil
}

func busyboxSpec(ctx context.Context) (image.Spec, error) {
	applets, err := exec.CommandContext(ctx, host.Busybox, "--list").Output()
	if err != nil {
		return image.Spec{}, fmt.Errorf("listing the applets of busybox: %w", err)
	}
	files := []image.File{
		{Path: "/bin/busybox", Mode: 0o755, Source: host.Busybox},
		{Path: "/tmp/", Mode: 0o777 | os.ModeSticky},
		{Path: "/root/", Mode: 0o700},
		{Path: "/etc/passwd", Mode: 0o644, Content: []byte("root:x:0:0:root:/root:/bin/sh\n")},
		{Path: "/etc/group", Mode: 0o644, Content: []byte("root:x:0:\n")},
	}
	for applet := range strings.FieldsSeq(string(applets)) {
		if applet != "busybox" {
			files = append(files, image.File{Path: "/bin/" + applet, Mode: 0o777, Link: "busybox"})
		}
	}
	return image.Spec{
		Reference: BusyboxImage, Architecture: runtime.GOARCH, Files: files,
		Cmd: []string{"sh"}, Env: []string{"PATH=/bin"},
	}, nil
}

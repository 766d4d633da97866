// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package part builds the pinned programs that the test cluster runs: Kubernetes, Velero and its AWS plugin, an S3
// gateway.
//
// Each part is a Go module of its own under test/cluster/parts, so that its go.sum holds the checksum of every source
// that goes into it, and none of it weighs on the product's module. Binaries land in a cache outside the repository.
package part

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
)

// Versions of the parts. The go.mod of each says the same; a test holds the two against each other.
const (
	KubernetesVersion = "v1.36.3"
	VeleroVersion     = "v1.18.3"
	AWSPluginVersion  = "v1.14.3"
	GatewayVersion    = "v1.8.0"

	RestServerVersion = "v0.14.0"
	GCSServerVersion  = "v1.52.2"
	RcloneVersion     = "v1.76.0"
)

// Names of the parts: the folders under test/cluster/parts.
const (
	Kubernetes = "kubernetes"
	Velero     = "velero"
	AWSPlugin  = "velero-plugin-for-aws"
	Gateway    = "versitygw"

	RestServer = "rest-server"
	GCSServer  = "fake-gcs-server"
	Rclone     = "rclone"
)

// Part is one pinned module and the programs that are built from it.
type Part struct {
	// Name is the folder under test/cluster/parts that holds go.mod and go.sum.
	Name string
	// Module is what the folder's go.mod requires, and Version the version of it.
	Module, Version string
	// Packages are import paths below Module, "." for the module itself; the last element of each whole path is the
	// program's file name.
	Packages []string
	// Asked says that the cluster does not need the part: it is built only when a program of it is named.
	Asked bool
	// Variables are set by the linker (-X); without them the programs cannot tell their version.
	Variables []string
}

// All returns every part of the cluster and of the tests' servers, quick builds first.
func All() []Part {
	const buildinfo = "github.com/vmware-tanzu/velero/pkg/buildinfo."
	return []Part{
		{
			Name: Gateway, Module: "github.com/versity/versitygw", Version: GatewayVersion,
			Packages: []string{"cmd/versitygw"},
		},
		{
			Name: AWSPlugin, Module: "github.com/vmware-tanzu/velero-plugin-for-aws", Version: AWSPluginVersion,
			Packages: []string{"hack/cp-plugin", "velero-plugin-for-aws"},
		},
		{
			Name: Velero, Module: "github.com/vmware-tanzu/velero", Version: VeleroVersion,
			Packages: []string{"cmd/velero", "cmd/velero-helper", "cmd/velero-restore-helper"},
			// hack/build.sh of Velero sets the same two.
			Variables: []string{buildinfo + "Version=" + VeleroVersion, buildinfo + "ImageRegistry=velero"},
		},
		{
			Name: Kubernetes, Module: "k8s.io/kubernetes", Version: KubernetesVersion,
			Packages: []string{
				"cmd/kube-apiserver", "cmd/kube-controller-manager", "cmd/kube-proxy",
				"cmd/kube-scheduler", "cmd/kubectl", "cmd/kubelet",
			},
			Variables: []string{"k8s.io/component-base/version.gitVersion=" + KubernetesVersion},
		},
		{
			Name: RestServer, Module: "github.com/restic/rest-server", Version: RestServerVersion,
			Packages: []string{"cmd/rest-server"}, Asked: true,
		},
		{
			Name: GCSServer, Module: "github.com/fsouza/fake-gcs-server", Version: GCSServerVersion,
			Packages: []string{"."}, Asked: true,
		},
		{
			Name: Rclone, Module: "github.com/rclone/rclone", Version: RcloneVersion,
			Packages: []string{"."}, Asked: true,
		},
	}
}

// Binaries are the file names of the part's programs.
func (p Part) Binaries() []string {
	names := make([]string, 0, len(p.Packages))
	for i := range p.Packages {
		names = append(names, path.Base(p.importPath(i)))
	}
	return names
}

func (p Part) importPath(i int) string { return path.Join(p.Module, p.Packages[i]) }

func (p Part) ldflags() string {
	flags := []string{"-s", "-w"}
	for _, variable := range p.Variables {
		flags = append(flags, "-X", variable)
	}
	return strings.Join(flags, " ")
}

// Cache is where built parts are kept and which repository they are built from.
type Cache struct {
	// Root is the folder for all parts and versions.
	Root string
	// Repository is the folder of the product's go.mod.
	Repository string
}

// Find locates the repository around the working directory, and the cache.
//
// The cache is $CLUSTER_CACHE, else velero-restic-cluster in the user's cache folder ($XDG_CACHE_HOME, ~/.cache).
// The error says so when the working directory is not inside the repository.
func Find(ctx context.Context) (Cache, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return Cache{}, fmt.Errorf("asking go for the repository's folder: %w", err)
	}
	repository := filepath.Dir(strings.TrimSpace(string(out)))
	if _, err := os.Stat(filepath.Join(repository, partsFolder)); err != nil {
		return Cache{}, errors.New("finding " + partsFolder + ": change into the folder of the repository first")
	}
	if root := os.Getenv("CLUSTER_CACHE"); root != "" {
		root, err = filepath.Abs(root)
		return Cache{Root: root, Repository: repository}, err
	}
	user, err := os.UserCacheDir()
	if err != nil {
		return Cache{}, fmt.Errorf("finding the cache folder (set CLUSTER_CACHE to choose one): %w", err)
	}
	return Cache{Root: filepath.Join(user, "velero-restic-cluster"), Repository: repository}, nil
}

const partsFolder = "test/cluster/parts"

// source is the folder with the part's go.mod.
func (c Cache) source(p Part) string { return filepath.Join(c.Repository, partsFolder, p.Name) }

// folder is where the part's programs are kept. Its name changes with everything that could change the programs.
func (c Cache) folder(p Part) (string, error) {
	key := sha256.New()
	fmt.Fprintln(key, runtime.Version(), runtime.GOARCH, p.Module, p.Version, p.Packages, p.ldflags())
	for _, name := range []string{"go.mod", "go.sum"} {
		content, err := os.ReadFile(filepath.Join(c.source(p), name))
		if err != nil {
			return "", fmt.Errorf("reading the pinned versions of %s: %w", p.Name, err)
		}
		key.Write(content)
	}
	sum := hex.EncodeToString(key.Sum(nil))[:12]
	return filepath.Join(c.Root, p.Name+"-"+p.Version+"-"+sum, "bin"), nil
}

// Own is the path for a program that is built from this repository, such as the CSI driver. Repositories do not share
// them, since a running cluster of one must not get a program of another.
func (c Cache) Own(name string) string {
	sum := sha256.Sum256([]byte(c.Repository))
	return filepath.Join(c.Root, "own-"+hex.EncodeToString(sum[:])[:12], name)
}

// Binary is the absolute path of a built program, such as kubectl or velero.
//
// The error names the program and the command that builds it when it is not in the cache.
func (c Cache) Binary(name string) (string, error) {
	for _, p := range All() {
		for _, binary := range p.Binaries() {
			if binary != name {
				continue
			}
			folder, err := c.folder(p)
			if err != nil {
				return "", err
			}
			file := filepath.Join(folder, name)
			if _, err := os.Stat(file); err != nil {
				return "", fmt.Errorf("finding %s (build it with: go run ./test/cluster build): %w", name, err)
			}
			return file, nil
		}
	}
	return "", fmt.Errorf("finding %s: no part of the cluster is called so", name)
}

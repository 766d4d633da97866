// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package part builds the pinned programs that the test cluster runs: Kubernetes, Velero and its AWS plugin, an S3
// gateway.
//
// Each part is a separate Go module in test/cluster/parts. Its go.sum has the checksum of every source, and the
// product's module does not depend on it. The binaries are in a cache outside the repository.
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

// Versions of the parts. The go.mod of each part has the same version; a test compares them.
const (
	KubernetesVersion = "v1.36.3"
	VeleroVersion     = "v1.18.3"
	AWSPluginVersion  = "v1.14.3"
	GatewayVersion    = "v1.8.0"

	RestServerVersion = "v0.14.0"
	GCSServerVersion  = "v1.52.2"
	RcloneVersion     = "v1.76.0"
)

// Names of the parts: the directories in test/cluster/parts.
const (
	Kubernetes = "kubernetes"
	Velero     = "velero"
	AWSPlugin  = "velero-plugin-for-aws"
	Gateway    = "versitygw"

	RestServer = "rest-server"
	GCSServer  = "fake-gcs-server"
	Rclone     = "rclone"
)

// Part is a pinned module and the programs in it.
type Part struct {
	// Name is the directory in test/cluster/parts with go.mod and go.sum.
	Name string
	// Module is the module that go.mod requires, and Version its version.
	Module, Version string
	// Packages are import paths below Module, "." for the module itself. The last element of the full path is the file
	// name of the program.
	Packages []string
	// OnRequest is true if the cluster does not need the part. Build builds it only if it gets the name of a program.
	OnRequest bool
	// Variables are set by the linker (-X). The programs print their version from them.
	Variables []string
}

// All returns all parts of the cluster and of the servers for tests, the fastest builds first.
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
			// hack/build.sh of Velero sets the same variables.
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
			Packages: []string{"cmd/rest-server"}, OnRequest: true,
		},
		{
			Name: GCSServer, Module: "github.com/fsouza/fake-gcs-server", Version: GCSServerVersion,
			Packages: []string{"."}, OnRequest: true,
		},
		{
			Name: Rclone, Module: "github.com/rclone/rclone", Version: RcloneVersion,
			Packages: []string{"."}, OnRequest: true,
		},
	}
}

// Binaries returns the file names of the part's programs.
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

// Cache has the directory of the built parts, and the repository from which they are built.
type Cache struct {
	// Root is the directory for all parts and versions.
	Root string
	// Repository is the directory of the product's go.mod.
	Repository string
}

// Find returns the repository that contains the working directory, and the cache.
//
// The cache is $CLUSTER_CACHE, else velero-restic-cluster in the user's cache directory ($XDG_CACHE_HOME, ~/.cache).
// Find fails if the working directory is not in the repository.
func Find(ctx context.Context) (Cache, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return Cache{}, fmt.Errorf("finding the directory of the repository with go: %w", err)
	}
	repository := filepath.Dir(strings.TrimSpace(string(out)))
	if _, err := os.Stat(filepath.Join(repository, partsFolder)); err != nil {
		return Cache{}, errors.New("finding " + partsFolder + ": change to the directory of the repository first")
	}
	if root := os.Getenv("CLUSTER_CACHE"); root != "" {
		root, err = filepath.Abs(root)
		return Cache{Root: root, Repository: repository}, err
	}
	user, err := os.UserCacheDir()
	if err != nil {
		return Cache{}, fmt.Errorf("finding the cache directory (set CLUSTER_CACHE to choose one): %w", err)
	}
	return Cache{Root: filepath.Join(user, "velero-restic-cluster"), Repository: repository}, nil
}

const partsFolder = "test/cluster/parts"

// source returns the directory of the part's go.mod.
func (c Cache) source(p Part) string { return filepath.Join(c.Repository, partsFolder, p.Name) }

// folder returns the directory of the part's programs. Its name depends on everything that can change the programs.
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

// Own returns the path of a program of this repository, such as the CSI driver. Each repository has its own path,
// because a running cluster of one repository must not get a program of another.
func (c Cache) Own(name string) string {
	sum := sha256.Sum256([]byte(c.Repository))
	return filepath.Join(c.Root, "own-"+hex.EncodeToString(sum[:])[:12], name)
}

// Binary returns the absolute path of a built program, such as kubectl or velero.
//
// If the program is not in the cache, the error names the program and the command that builds it.
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
	return "", fmt.Errorf("finding %s: no part of the cluster has this program", name)
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/part"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/pki"
)

// programs are what the tests start, as paths.
type programs struct {
	agent, gateway, restServer, rclone, gcs, sshd, azurite, node string
	// repository is the folder of go.mod.
	repository string
}

// suite is set once, before the first test.
var suite struct {
	programs
	authority *pki.Authority
}

// preparePatience bounds the building of all servers; rclone alone takes minutes.
const preparePatience = 30 * time.Minute

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "storage:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), preparePatience)
	defer cancel()
	folder, err := os.MkdirTemp("", "storage-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	if suite.authority, err = pki.NewAuthority("storage"); err != nil {
		return 1, err
	}
	cache, err := part.Find(ctx)
	if err != nil {
		return 1, err
	}
	suite.repository = cache.Repository
	if err := buildServers(ctx, cache); err != nil {
		return 1, err
	}
	suite.agent = filepath.Join(folder, "velero-restic-agent")
	if err := command(ctx, cache.Repository, "go", "build", "-o", suite.agent, "./agent"); err != nil {
		return 1, err
	}
	if err := installDebian(ctx); err != nil {
		return 1, err
	}
	if err := installAzurite(ctx, cache); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

func buildServers(ctx context.Context, cache part.Cache) error {
	for name, path := range map[string]*string{
		"versitygw": &suite.gateway, "rest-server": &suite.restServer, "rclone": &suite.rclone,
		"fake-gcs-server": &suite.gcs,
	} {
		if found, err := cache.Binary(name); err == nil {
			*path = found // without the lock of a build
			continue
		}
		if err := cache.Build(ctx, os.Stdout, name); err != nil {
			return err
		}
		found, err := cache.Binary(name)
		if err != nil {
			return err
		}
		*path = found
	}
	return nil
}

// installDebian installs what is missing of Debian's packages.
func installDebian(ctx context.Context) error {
	var missing []string
	for _, need := range []struct {
		path         *string
		file, debian string
	}{
		{&suite.sshd, "/usr/sbin/sshd", "openssh-server"},
		{new(string), "ssh-keyscan", "openssh-client"},
		{&suite.node, "node", "nodejs"},
		{new(string), "npm", "npm"},
	} {
		found, err := exec.LookPath(need.file)
		if err != nil {
			missing = append(missing, need.debian)
			found = filepath.Join("/usr/bin", filepath.Base(need.file))
		}
		*need.path = found
	}
	if len(missing) == 0 {
		return nil
	}
	fmt.Println("installing Debian packages:", missing)
	if err := command(ctx, "", "apt-get", "update", "-q"); err != nil {
		return err
	}
	return command(ctx, "", "apt-get", append([]string{"install", "-q", "-y", "--no-install-recommends"}, missing...)...)
}

// installAzurite installs the pinned server of Azure's interface into the cache.
func installAzurite(ctx context.Context, cache part.Cache) error {
	const version = "3.37.0" // that of test/storage/azurite/package.json
	folder := filepath.Join(cache.Root, "azurite-"+version)
	suite.azurite = filepath.Join(folder, "node_modules", "azurite", "dist", "src", "blob", "main.js")
	if _, err := os.Stat(suite.azurite); err == nil {
		return nil
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"package.json", "package-lock.json"} {
		content, err := os.ReadFile(filepath.Join(cache.Repository, "test", "storage", "azurite", name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o644); err != nil {
			return err
		}
	}
	return command(ctx, folder, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
}

// command runs a program that prepares something; what it said is in the error.
func command(ctx context.Context, dir, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %v: %w: %s", program, args, err, said)
	}
	return nil
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package e2e uses the project as its users do, on real clusters: with kubectl, velero and velero-restic.
//
// The prefix of a file is the user's job: backup, restore, retention, maintenance, repository, coverage, cli, install
// and disaster. What the tests share is in the files with prefix harness.
//
// All of them are one package, and so one program, because the time of a run depends on which tests run side by side.
// A test that only uses namespaces of its own calls shareCluster and runs beside others. A test that changes what all
// of a cluster uses, such as the agents or the password, calls reserveCluster: it runs on a second cluster, one test at
// a time, while the others go on. Packages would be processes that cannot take turns, each with a link of some seconds,
// and `go test` would show nothing of a package before its end.
//
// A local run starts its clusters when the first test needs them, and removes them. KEEP=1 leaves them, with whatever
// failed on them, and the next run with KEEP=1 uses them again. E2E_CLUSTER names them, so that two runs can share a
// machine. With CLUSTER=existing and KUBECONFIG, the tests use that cluster, which must have Velero.
package e2e

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/existing"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/part"
)

// environment is what all tests share.
type environment struct {
	*clusters

	// repository is the directory of go.mod, fixture the program of test/fixture/cmd, and program velero-restic, in a
	// directory with only the names by which kubectl finds it.
	repository, fixture, program string
}

// suite is set once, before the first test.
var suite environment

const (
	// startLimit bounds the start of a cluster. The first start on a machine builds Kubernetes.
	startLimit = 40 * time.Minute
	// sideBySide is how many tests share a cluster at a time, unless -parallel says otherwise. Most of their time they
	// wait for the cluster, so two cores carry more than two. With six, the caches of Velero's server fell so far behind
	// that it ran a backup a second time, which fails with "backup already exists in object storage".
	sideBySide = "4"
	// unlimited lets go test start all parallel tests, which then wait for their turns: see turns.
	unlimited = "1000"
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

// run prepares everything and runs the tests. It returns the exit code of the process.
func run(m *testing.M) (code int, err error) {
	ctx := context.Background()
	limit, err := parallelFlag()
	if err != nil {
		return 1, err
	}
	cache, err := part.Find(ctx)
	if err != nil {
		return 1, err
	}
	suite.repository = cache.Repository
	directory, err := os.MkdirTemp("", "e2e-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(directory)) }()
	if err := errors.Join(buildFixture(ctx, directory), linkCLI(directory)); err != nil {
		return 1, err
	}
	userHasCluster, err := existing.Chosen(os.Getenv("CLUSTER"))
	if err != nil {
		return 1, err
	}
	if userHasCluster {
		if err := existing.Check(ctx, os.Getenv("KUBECONFIG"), os.Stdout); err != nil {
			return 1, err
		}
		suite.clusters = newUserClusters(limit)
		return m.Run(), nil
	}
	suite.clusters = newLocalClusters(cmp.Or(os.Getenv("E2E_CLUSTER"), "e2e"), cache, limit)
	code = m.Run()
	suite.turns.report(os.Stdout)
	if os.Getenv("KEEP") != "" {
		return code, nil
	}
	return code, suite.removeAll(ctx)
}

// parallelFlag returns how many tests share a cluster, and lets go test start them all.
func parallelFlag() (int, error) {
	if err := flag.Set("test.parallel", sideBySide); err != nil {
		return 0, err
	}
	flag.Parse()
	limit, err := strconv.Atoi(flag.Lookup("test.parallel").Value.String())
	if err != nil {
		return 0, err
	}
	return limit, flag.Set("test.parallel", unlimited)
}

// buildFixture builds a static program, which runs in the image of the test pods.
func buildFixture(ctx context.Context, directory string) error {
	suite.fixture = filepath.Join(directory, "fixture")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", suite.fixture, "./test/fixture/cmd")
	build.Dir = suite.repository
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building ./test/fixture/cmd: %w: %s", err, output)
	}
	return nil
}

// linkCLI takes the velero-restic that `make images` has built together with the images, under each name that
// docs/cli.md documents for kubectl.
func linkCLI(directory string) error {
	built := filepath.Join(suite.repository, "bin", runtime.GOARCH, "velero-restic")
	if _, err := os.Stat(built); err != nil {
		return fmt.Errorf("finding velero-restic (build it with `make images`): %w", err)
	}
	programs := filepath.Join(directory, "cli")
	if err := os.Mkdir(programs, 0o755); err != nil {
		return err
	}
	suite.program = filepath.Join(programs, "velero-restic")
	for _, name := range []string{"velero-restic", "kubectl-velero_restic", "kubectl_complete-velero_restic"} {
		if err := os.Symlink(built, filepath.Join(programs, name)); err != nil {
			return err
		}
	}
	return nil
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package e2e uses the project as its users do, on a real cluster: with kubectl, velero, and nothing else of ours.
//
// Tests that change the whole cluster run one after the other, first; those with t.Parallel share it afterwards.
// A local run starts a cluster of its own and removes it; KEEP=1 leaves it, and what failed on it, for a look, and the
// next run with KEEP=1 goes on with it. E2E_CLUSTER names it, where two runs share a machine.
// With CLUSTER=existing and KUBECONFIG set, the tests use that cluster, on which Velero must be installed.
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
	"testing"
	"time"

	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/existing"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/node"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/part"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
	"github.com/velero-restic/velero-plugin-for-restic/test/install"
)

// environment is what all tests share.
type environment struct {
	cluster install.Cluster
	// node is the cluster of this machine; nil when the tests use one that the user brought.
	node *node.Node
	// store is the bucket, empty on a user's cluster.
	store node.Store
	// repository is the folder of go.mod, fixture the program of test/fixture/cmd, and program velero-restic,
	// which has no other in its folder but what kubectl finds it by.
	repository, fixture, program string
}

// suite is set once, before the first test.
var suite environment

// startLimit bounds a start with everything built; the first one on a machine builds Kubernetes.
const startLimit = 40 * time.Minute

// run prepares everything and runs the tests. Its code is that of the process, unless there is an error.
func run(m *testing.M) (code int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	cache, err := part.Find(ctx)
	if err != nil {
		return 1, err
	}
	suite.repository = cache.Repository
	folder, err := os.MkdirTemp("", "e2e-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	if err := errors.Join(buildFixture(ctx, folder), buildCLI(ctx, folder)); err != nil {
		return 1, err
	}
	own, err := existing.Chosen(os.Getenv("CLUSTER"))
	if err != nil {
		return 1, err
	}
	if own {
		return runOnUserCluster(ctx, m)
	}
	return runOnNode(ctx, m, cache)
}

// parallel is how many tests share the cluster. Most of their time they wait for it, so that two cores carry more than
// the two that Go would choose.
const parallel = "4"

func TestMain(m *testing.M) {
	// A flag on the command line comes later, and counts.
	if err := flag.Set("test.parallel", parallel); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

// runOnNode starts a cluster, and removes it in the end.
func runOnNode(ctx context.Context, m *testing.M, cache part.Cache) (code int, err error) {
	n, err := node.New(cmp.Or(os.Getenv("E2E_CLUSTER"), "e2e"), cache, os.Stdout)
	if err != nil {
		return 1, err
	}
	keep := os.Getenv("KEEP") != ""
	if !keep {
		defer func() {
			// The tests have taken longer than the start may.
			if downErr := n.Down(context.WithoutCancel(ctx)); downErr != nil {
				code, err = 1, errors.Join(err, downErr)
			}
		}()
	}
	if err := startNode(ctx, n, keep); err != nil {
		return 1, err
	}
	if err := velero.Install(ctx, n, velero.Options{}, os.Stdout); err != nil {
		return 1, err
	}
	info, err := n.Info()
	if err != nil {
		return 1, err
	}
	suite.cluster, suite.node, suite.store = n, n, info.Store
	if err := installProduct(ctx, filepath.Join(suite.repository, install.Images)); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// startNode starts the cluster anew, unless an earlier run's is to be used again.
func startNode(ctx context.Context, n *node.Node, again bool) error {
	if plan, err := n.Plan(); err == nil && plan.Ready && again {
		return nil
	}
	if err := n.Down(ctx); err != nil && !errors.Is(err, node.ErrAbsent) {
		return err
	}
	return n.Up(ctx, node.Options{})
}

// runOnUserCluster uses the cluster of KUBECONFIG, which pulls the images.
func runOnUserCluster(ctx context.Context, m *testing.M) (int, error) {
	if err := existing.Check(ctx, os.Getenv("KUBECONFIG"), os.Stdout); err != nil {
		return 1, err
	}
	suite.cluster = userCluster{}
	if err := installProduct(ctx, ""); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

func installProduct(ctx context.Context, images string) error {
	version, err := install.Version(filepath.Join(suite.repository, install.Images))
	if err != nil {
		return err
	}
	options := install.Options{Repository: suite.repository, Images: images, Version: version}
	return install.Install(ctx, suite.cluster, options, os.Stdout)
}

func buildFixture(ctx context.Context, folder string) error {
	suite.fixture = filepath.Join(folder, "fixture")
	return build(ctx, suite.fixture, "./test/fixture/cmd")
}

// buildCLI builds the command line, and gives it the names that docs/cli.md says kubectl finds it by.
func buildCLI(ctx context.Context, folder string) error {
	suite.program = filepath.Join(folder, "cli", "velero-restic")
	if err := build(ctx, suite.program, "./cli"); err != nil {
		return err
	}
	for _, name := range []string{"kubectl-velero_restic", "kubectl_complete-velero_restic"} {
		if err := os.Symlink("velero-restic", filepath.Join(filepath.Dir(suite.program), name)); err != nil {
			return err
		}
	}
	return nil
}

// build builds a program without a need for libraries, with the version that the images have.
func build(ctx context.Context, file, source string) error {
	version, err := install.Version(filepath.Join(suite.repository, install.Images))
	if err != nil {
		version = "v0.0.0-dev" // on a cluster that pulls its images there are none here
	}
	const variable = "github.com/velero-restic/velero-plugin-for-restic/internal/version.Version"
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-X "+variable+"="+version, "-o", file,
		source)
	build.Dir = suite.repository
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w: %s", source, err, said)
	}
	return nil
}

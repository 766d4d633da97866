// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/node"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/part"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
	"github.com/velero-restic/velero-plugin-for-restic/test/install"
)

// testCluster is a cluster with Velero and this project.
type testCluster struct {
	install.Cluster

	// node is the cluster of this machine; nil for the user's.
	node *node.Node
	// store is the bucket; empty for the user's cluster.
	store node.Store
	// kubeconfig is the path of the administrator's kubeconfig.
	kubeconfig string
	// api reads objects without a process of kubectl for each look.
	api client.Client
	// agentFlags are those of the agents while no test changes them.
	agentFlags []string
}

// clusters are those of one run. Each starts when the first test needs it.
type clusters struct {
	// name is what the names of all local clusters start with.
	name  string
	cache part.Cache
	// local is whether this machine runs the clusters.
	local bool
	// shared is for tests that run side by side, and reserved for tests that need a whole cluster. A user has only one.
	shared, reserved func() (*testCluster, error)
	turns            *turns

	mu sync.Mutex
	// started are the local clusters to remove.
	started []*node.Node
	// byTest is the cluster of each test, by the name of the top-level test.
	byTest map[string]*testCluster
}

// reservedAgentFlags shorten what tests on the reserved cluster wait for, one test after the other.
func reservedAgentFlags() []string { return []string{"--repository-wait=20s", "--retry-lock=10s"} }

func newLocalClusters(name string, cache part.Cache, limit int) *clusters {
	c := &clusters{name: name, cache: cache, local: true, byTest: map[string]*testCluster{}}
	c.turns = newTurns(limit, false)
	c.shared = sync.OnceValues(func() (*testCluster, error) { return c.start(name, nil) })
	c.reserved = sync.OnceValues(func() (*testCluster, error) { return c.start(name+"-reserved", reservedAgentFlags()) })
	return c
}

// newUserClusters has the one cluster of KUBECONFIG, which pulls the images.
func newUserClusters(limit int) *clusters {
	c := &clusters{byTest: map[string]*testCluster{}, turns: newTurns(limit, true)}
	c.shared = sync.OnceValues(func() (*testCluster, error) {
		return finishCluster(context.Background(), &testCluster{
			Cluster: userCluster{}, kubeconfig: os.Getenv("KUBECONFIG"),
		}, "")
	})
	c.reserved = c.shared
	return c
}

// start runs a local cluster with Velero and this project.
func (c *clusters) start(name string, agentFlags []string) (*testCluster, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	n, err := node.New(name, c.cache, os.Stdout)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.started = append(c.started, n)
	c.mu.Unlock()
	if err := startNode(ctx, n); err != nil {
		return nil, err
	}
	if err := velero.Install(ctx, n, velero.Options{}, os.Stdout); err != nil {
		return nil, err
	}
	info, err := n.Info()
	if err != nil {
		return nil, err
	}
	cluster := &testCluster{
		Cluster: n, node: n, store: info.Store, kubeconfig: n.Kubeconfig(), agentFlags: agentFlags,
	}
	return finishCluster(ctx, cluster, filepath.Join(suite.repository, install.Images))
}

// startNode starts a new cluster, unless KEEP says to use that of an earlier run again.
func startNode(ctx context.Context, n *node.Node) error {
	if plan, err := n.Plan(); err == nil && plan.Ready && os.Getenv("KEEP") != "" {
		return nil
	}
	if err := n.Down(ctx); err != nil && !errors.Is(err, node.ErrAbsent) {
		return err
	}
	return n.Up(ctx, node.Options{})
}

// finishCluster installs this project, with images from this directory unless it is empty, and connects to the API
// server.
func finishCluster(ctx context.Context, cluster *testCluster, images string) (*testCluster, error) {
	version, err := install.Version(filepath.Join(suite.repository, install.Images))
	if err != nil {
		return nil, err
	}
	options := install.Options{
		Repository: suite.repository, Images: images, Version: version, AgentFlags: cluster.agentFlags,
	}
	if err := install.Install(ctx, cluster.Cluster, options, os.Stdout); err != nil {
		return nil, err
	}
	config, err := clientcmd.BuildConfigFromFlags("", cluster.kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	config.QPS = -1 // the tests bound the load themselves
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		clientgoscheme.AddToScheme, velerov1.AddToScheme, resticv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	if cluster.api, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		return nil, err
	}
	if cluster.node == nil {
		return cluster, nil
	}
	return cluster, allowConcurrentJobs(ctx, cluster.api)
}

// allowConcurrentJobs lets maintenance Jobs of several tests run side by side, as docs/maintenance.md says. By default
// each Job waits for all others.
func allowConcurrentJobs(ctx context.Context, api client.Client) error {
	err := api.Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: velero.Namespace, Name: contract.MaintenanceConfigMap},
		Data:       map[string]string{"global": `{"concurrency": 6}`},
	})
	return client.IgnoreAlreadyExists(err)
}

// removeAll removes the local clusters of this run.
func (c *clusters) removeAll(ctx context.Context) error {
	var all []error
	for _, n := range c.started {
		all = append(all, n.Down(ctx))
	}
	return errors.Join(all...)
}

// shareCluster is how a test begins that uses only namespaces of its own. It runs beside other tests.
func shareCluster(t *testing.T) {
	t.Helper()
	suite.begin(t, suite.turns.share, suite.shared)
}

// reserveCluster is how a test begins that changes what other tests use. It has a cluster to itself, and must leave it
// as it was.
func reserveCluster(t *testing.T) {
	t.Helper()
	suite.begin(t, suite.turns.reserve, suite.reserved)
}

// useExtraClusters is how a test begins that starts clusters of its own, with startExtraCluster. The gateway of the
// shared cluster serves buckets that outlive them.
func useExtraClusters(t *testing.T) {
	t.Helper()
	needsNode(t)
	suite.begin(t, suite.turns.extra, suite.shared)
}

// begin waits for the turn of a test, and then for its cluster.
func (c *clusters) begin(t *testing.T, wait func(*testing.T), start func() (*testCluster, error)) {
	t.Helper()
	t.Parallel()
	asked := time.Now()
	wait(t)
	cluster, err := start()
	if err != nil {
		t.Fatalf("starting the cluster: %v", err)
	}
	c.turns.measure(t, asked)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.byTest[topLevel(t)] = cluster
}

// clusterOf returns the cluster of a test or subtest.
func clusterOf(t *testing.T) *testCluster {
	t.Helper()
	suite.mu.Lock()
	defer suite.mu.Unlock()
	cluster := suite.byTest[topLevel(t)]
	if cluster == nil {
		t.Fatal("the test has no cluster: it must call shareCluster or reserveCluster first")
	}
	return cluster
}

func topLevel(t *testing.T) string {
	name, _, _ := strings.Cut(t.Name(), "/")
	return name
}

// needsNode skips a test that reads files of the node or of the bucket, unless this machine runs the cluster.
func needsNode(t *testing.T) {
	t.Helper()
	if !suite.local {
		t.Skip("the test reads files of the node or of the bucket, which only the local test cluster allows")
	}
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/host"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/part"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/process"
)

// Options are the options of a start.
type Options struct {
	// StoreFrom is the name of another cluster of this machine whose bucket this one shares. If it is empty, the
	// cluster has its own bucket.
	StoreFrom string
}

// Up starts the cluster: it builds missing programs, removes what a crash left, starts everything and waits until the
// node is ready. It does not change a running cluster.
//
// An error names the step, and the log of the program that failed. The started programs keep running for inspection.
// The next Up or Down removes them.
func (n *Node) Up(ctx context.Context, options Options) error {
	if err := host.Prepare(ctx, n.out); err != nil {
		return err
	}
	if running, err := n.checkRunning(options); running || err != nil {
		return err
	}
	if err := n.cache.Build(ctx, n.out); err != nil {
		return err
	}
	unlock, err := lockMachine(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	// Another start of the same cluster may have held the lock.
	if running, err := n.checkRunning(options); running || err != nil {
		return err
	}
	if err := n.clear(ctx); err != nil {
		return err
	}
	plan, err := n.prepare(ctx, options)
	if err != nil {
		return err
	}
	return n.boot(ctx, plan)
}

// checkRunning returns whether the cluster already runs. It fails if it runs with another bucket.
func (n *Node) checkRunning(options Options) (bool, error) {
	plan, err := n.Plan()
	if errors.Is(err, ErrAbsent) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	ended, err := n.endedPrograms()
	if err != nil || len(ended) > 0 || !plan.Ready {
		return false, err
	}
	if options.StoreFrom != "" && options.StoreFrom != plan.Store.Cluster {
		return false, fmt.Errorf("cluster %s runs with the bucket of cluster %s, not of %s: stop it first",
			n.name, plan.Store.Cluster, options.StoreFrom)
	}
	n.say("cluster %s is already running", n.name)
	return true, nil
}

// prepare writes all files that the programs need, and starts the S3 gateway.
func (n *Node) prepare(ctx context.Context, options Options) (Plan, error) {
	index, err := n.freeIndex()
	if err != nil {
		return Plan{}, err
	}
	if err := os.MkdirAll(n.State(), 0o755); err != nil {
		return Plan{}, fmt.Errorf("creating the state directory: %w", err)
	}
	plan, a := Plan{Index: index}, addresses{index}
	if err := n.savePlan(plan); err != nil {
		return plan, err
	}
	steps := []func() error{
		func() error { return n.createNetwork(ctx, a) },
		n.createCgroups,
		n.shareKubeletRoot,
		func() error { return n.writeCredentials(a) },
		func() error { return n.writeConfiguration(a) },
		n.linkPrograms,
		func() error { return n.chooseStore(&plan, options) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return plan, err
		}
	}
	return plan, n.savePlan(plan)
}

func (n *Node) chooseStore(plan *Plan, options Options) error {
	if options.StoreFrom == "" || options.StoreFrom == n.name {
		var err error
		plan.Store, err = n.startGateway(addresses{plan.Index})
		return err
	}
	other := &Node{name: options.StoreFrom}
	theirs, err := other.Plan()
	if err != nil {
		return fmt.Errorf("sharing a bucket: %w", err)
	}
	plan.Store = theirs.Store
	return nil
}

// boot starts the programs in order, and waits until each one is ready for the next.
func (n *Node) boot(ctx context.Context, plan Plan) error {
	commands, err := n.programs(addresses{plan.Index})
	if err != nil {
		return err
	}
	start := func(commands []process.Command) error {
		for _, command := range commands {
			if err := n.Processes().Start(command); err != nil {
				return err
			}
		}
		return nil
	}
	// Start etcd, containerd and the API server. The other programs exit if the API server does not respond.
	if err := start(commands[:3]); err != nil {
		return err
	}
	images, err := n.createImages(ctx)
	if err != nil {
		return err
	}
	containerdAnswers := func(ctx context.Context) error { _, err := n.ctr(ctx, "version"); return err }
	if err := n.wait(ctx, "containerd", containerdAnswers); err != nil {
		return err
	}
	if err := n.Load(ctx, images...); err != nil {
		return err
	}
	serverAnswers := func(ctx context.Context) error { return n.apiReady(ctx, plan) }
	if err := n.wait(ctx, "the API server", serverAnswers); err != nil {
		return err
	}
	n.say("the API server is ready at %s", plan.API())
	driver, err := n.driver(ctx)
	if err != nil {
		return err
	}
	if err := start(append(commands[3:], driver)); err != nil {
		return err
	}
	if err := n.waitReady(ctx, plan); err != nil {
		return err
	}
	plan.Ready = true
	if err := n.savePlan(plan); err != nil {
		return err
	}
	n.say("cluster %s is ready", n.name)
	return nil
}

// waitReady waits until pods can start: the node is ready, the default service account exists, and the API has an
// endpoint.
func (n *Node) waitReady(ctx context.Context, plan Plan) error {
	checks := []struct {
		what, want string
		args       []string
	}{
		{"node " + n.NodeName(), "True", []string{
			"get", "node", n.NodeName(),
			"-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status}`,
		}},
		{"the default service account", "default", []string{
			"-n", "default", "get", "serviceaccount", "default",
			"-o", "jsonpath={.metadata.name}",
		}},
		{"the endpoint of the API's Service", addresses{plan.Index}.node(), []string{
			"-n", "default",
			"get", "endpointslices", "kubernetes", "-o", "jsonpath={.endpoints[0].addresses[0]}",
		}},
	}
	for _, check := range checks {
		err := n.wait(ctx, check.what, func(ctx context.Context) error {
			got, err := n.Kubectl(ctx, check.args...)
			if err == nil && got != check.want {
				err = fmt.Errorf("it is %q, not %q", got, check.want)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	if plan.Store.Cluster == n.name {
		return n.wait(ctx, "the S3 gateway", plan.Store.answers)
	}
	return nil
}

// stepTimeout limits a step of the start. On a slow machine with two cores, a step takes a few seconds.
const stepTimeout = 2 * time.Minute

// wait calls check until it returns no error. It fails immediately if a program of the cluster has ended.
func (n *Node) wait(ctx context.Context, what string, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	for {
		last := check(ctx)
		if last == nil {
			return nil
		}
		ended, err := n.endedPrograms()
		if err != nil {
			return err
		}
		if len(ended) > 0 {
			return fmt.Errorf("waiting for %s: %s has ended; its log %s ends with:\n%s",
				what, ended[0], n.Processes().Log(ended[0]), n.Processes().Tail(ended[0], 8))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s (logs: %s): %w: %w", what, n.path("logs"), ctx.Err(), last)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// endedPrograms returns the recorded programs that no longer run.
func (n *Node) endedPrograms() ([]string, error) {
	records, err := n.Processes().List()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, record := range records {
		if !record.Identity.Alive() {
			names = append(names, record.Command.Name)
		}
	}
	return names, nil
}

func (n *Node) apiReady(ctx context.Context, plan Plan) error {
	authority, err := os.ReadFile(n.path("pki", "ca.crt"))
	if err != nil {
		return fmt.Errorf("reading the authority's certificate: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	client := http.Client{Transport: transport, Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, plan.API()+"/readyz", nil)
	if err != nil {
		return fmt.Errorf("requesting the state of the API server: %w", err)
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("requesting the state of the API server: %w", err)
	}
	defer func() { _ = response.Body.Close() }() // only the status matters
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("requesting the state of the API server: it returned %s", response.Status)
	}
	return nil
}

// linkPrograms creates links to the programs in the directory that a user adds to PATH.
func (n *Node) linkPrograms() error {
	if err := os.MkdirAll(n.Bin(), 0o755); err != nil {
		return fmt.Errorf("creating the directory for programs: %w", err)
	}
	for _, p := range part.All() {
		if p.OnRequest {
			continue
		}
		for _, name := range p.Binaries() {
			file, err := n.cache.Binary(name)
			if err != nil {
				return err
			}
			if err := os.Symlink(file, filepath.Join(n.Bin(), name)); err != nil {
				return fmt.Errorf("linking %s: %w", name, err)
			}
		}
	}
	return nil
}

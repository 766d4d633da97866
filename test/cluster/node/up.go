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

// Options are the choices of a start.
type Options struct {
	// StoreFrom names another cluster of this machine whose bucket this one shares. Empty: a bucket of its own.
	StoreFrom string
}

// Up makes the cluster run: it builds what the cache lacks, clears what a crash left, starts everything and waits until
// the node is ready. A cluster that runs already is left alone.
//
// An error names the step, and the log of the program that it is about. What was started stays for a look at it; the
// next Up or Down clears it.
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
	// Another start of the same cluster may have been the one that held the lock.
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

// checkRunning says whether there is nothing to do.
func (n *Node) checkRunning(options Options) (bool, error) {
	plan, err := n.Plan()
	if errors.Is(err, ErrAbsent) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	dead, err := n.dead()
	if err != nil || len(dead) > 0 || !plan.Ready {
		return false, err
	}
	if options.StoreFrom != "" && options.StoreFrom != plan.Store.Cluster {
		return false, fmt.Errorf("cluster %s runs with the bucket of cluster %s, not of %s: take it down first",
			n.name, plan.Store.Cluster, options.StoreFrom)
	}
	n.say("cluster %s is running already", n.name)
	return true, nil
}

// prepare writes everything that the programs need, and the store's gateway as the one that others may wait for.
func (n *Node) prepare(ctx context.Context, options Options) (Plan, error) {
	index, err := n.freeIndex()
	if err != nil {
		return Plan{}, err
	}
	if err := os.MkdirAll(n.State(), 0o755); err != nil {
		return Plan{}, fmt.Errorf("making the state folder: %w", err)
	}
	plan, a := Plan{Index: index}, addresses{index}
	if err := n.savePlan(plan); err != nil {
		return plan, err
	}
	steps := []func() error{
		func() error { return n.makeNetwork(ctx, a) },
		n.makeCgroups,
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

// boot starts the programs and waits for each thing that the next one needs.
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
	// etcd, containerd and the API server; the rest gives up when the API server is not there.
	if err := start(commands[:3]); err != nil {
		return err
	}
	images, err := n.makeImages(ctx)
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
	n.say("API server answers at %s", plan.API())
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

// waitReady waits until pods can be made: the node takes them, their account is there, and Services lead to the API.
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

// patience is how long a step of the start may take; on a slow machine with two cores each takes a few seconds.
const patience = 2 * time.Minute

// wait asks until the answer is no error. It gives up early when a program of the cluster has ended.
func (n *Node) wait(ctx context.Context, what string, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		last := ask(ctx)
		if last == nil {
			return nil
		}
		dead, err := n.dead()
		if err != nil {
			return err
		}
		if len(dead) > 0 {
			return fmt.Errorf("waiting for %s: %s has ended; its log %s ends with:\n%s",
				what, dead[0], n.Processes().Log(dead[0]), n.Processes().Tail(dead[0], 8))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s (logs: %s): %w: %w", what, n.path("logs"), ctx.Err(), last)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// dead lists recorded programs that no longer run.
func (n *Node) dead() ([]string, error) {
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
		return fmt.Errorf("asking the API server: %w", err)
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("asking the API server: %w", err)
	}
	defer func() { _ = response.Body.Close() }() // its status says all
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("asking the API server: it answered %s", response.Status)
	}
	return nil
}

// linkPrograms fills the folder that a user puts into PATH.
func (n *Node) linkPrograms() error {
	if err := os.MkdirAll(n.Bin(), 0o755); err != nil {
		return fmt.Errorf("making the folder for programs: %w", err)
	}
	for _, p := range part.All() {
		if p.Asked {
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

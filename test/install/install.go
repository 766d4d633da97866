// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package install installs the project on a cluster with Velero, with the same commands that users run.
package install

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
)

// Images is the directory in the repository to which `make images` writes.
const Images = "dist/images"

const pluginArchive = "velero-plugin-for-restic.tar"

// archives returns the files in that directory, for the architecture of this machine.
func archives() []string {
	return []string{pluginArchive, "velero-restic-agent.tar", "velero-restic-restore-helper.tar"}
}

// Repositories of the images, without a tag.
const (
	pluginImage = "velero/velero-plugin-for-restic"
	agentImage  = "velero/velero-restic-agent"
)

// timeout limits an installation, which takes 30 seconds on two cores.
const timeout = 5 * time.Minute

// Cluster is the target of the installation: a *node.Node, or a user's own cluster.
type Cluster interface {
	// Kubectl and Velero run the two programs as the administrator of the cluster and return their standard output. An
	// error contains their standard error.
	Kubectl(ctx context.Context, args ...string) (string, error)
	Velero(ctx context.Context, args ...string) (string, error)
}

// loader is a cluster that can load images from files.
type loader interface {
	Load(ctx context.Context, files ...string) error
}

// kubelet is a cluster whose kubelet may have another root directory than /var/lib/kubelet.
type kubelet interface {
	KubeletRoot() string
}

// Options describe an installation.
type Options struct {
	// Repository is the directory of the product's go.mod, which contains examples/base.
	Repository string
	// Images is the directory of the image archives. If it is empty, the cluster has the images or pulls them.
	Images string
	// Version is the tag of the images.
	Version string
	// AgentFlags are flags of the agents. Empty: they have their defaults.
	AgentFlags []string
}

// Install loads the images, applies examples/base, and creates a password for the repositories if there is none. Then
// it adds the plugin to Velero, and waits until the server and the agents run. A second call changes only what differs.
//
// Install prints each command to out before it runs it, as a user would type it. The error names the command that
// failed.
func Install(ctx context.Context, c Cluster, options Options, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if options.Images != "" {
		if err := Load(ctx, c, options.Images); err != nil {
			return err
		}
	}
	i := &installation{ctx: ctx, cluster: c, options: options, out: out}
	for _, step := range []func() error{i.base, i.hostPath, i.agentFlags, i.password, i.plugin, i.rollOut} {
		if err := step(); err != nil {
			return fmt.Errorf("installing: %w", err)
		}
	}
	return nil
}

// Load loads the images from a directory of `make images` into a cluster that can load images from files. It fails if
// the cluster cannot, or if the directory has no images.
func Load(ctx context.Context, c Cluster, folder string) error {
	target, loads := c.(loader)
	if !loads {
		return errors.New("installing: this cluster cannot load images from files: push the images to a registry " +
			"from which it pulls")
	}
	for _, archive := range archives() {
		if err := target.Load(ctx, filepath.Join(folder, archive)); err != nil {
			return fmt.Errorf("installing (build the images with `make images`): %w", err)
		}
	}
	return nil
}

// installation is one call of Install.
type installation struct {
	ctx     context.Context //nolint:containedctx // the value lives for one call
	cluster Cluster
	options Options
	out     io.Writer
}

// kubectl prints the command and runs it.
func (i *installation) kubectl(args ...string) error {
	fmt.Fprintln(i.out, "$ kubectl", quoted(args))
	_, err := i.cluster.Kubectl(i.ctx, args...)
	return err
}

// quoted returns arguments as a user types them in a shell.
func quoted(args []string) string {
	words := make([]string, 0, len(args))
	for _, arg := range args {
		if strings.ContainsAny(arg, ` "[]{}$`) {
			arg = "'" + arg + "'"
		}
		words = append(words, arg)
	}
	return strings.Join(words, " ")
}

func (i *installation) base() error {
	fmt.Fprintln(i.out, "$ kubectl apply -k examples/base")
	_, err := i.cluster.Kubectl(i.ctx, "apply", "-k", filepath.Join(i.options.Repository, "examples", "base"))
	if err != nil {
		return err
	}
	image, err := i.cluster.Kubectl(i.ctx, "-n", velero.Namespace, "get", "daemonset", contract.DaemonSetName,
		"-o", "jsonpath={.spec.template.spec.containers[0].image}")
	want := agentImage + ":" + i.options.Version
	if err != nil || image == want {
		return err
	}
	return i.kubectl("-n", velero.Namespace, "set", "image", "daemonset/"+contract.DaemonSetName, "restic="+want)
}

// hostPath is the documented step for platforms whose kubelet has another root directory.
func (i *installation) hostPath() error {
	node, ok := i.cluster.(kubelet)
	if !ok {
		return nil
	}
	patch := fmt.Sprintf(`[{"op":"replace","path":"/spec/template/spec/volumes/0/hostPath","value": { "path": %q}}]`,
		filepath.Join(node.KubeletRoot(), "pods"))
	return i.kubectl("patch", "ds/"+contract.DaemonSetName, "--namespace", velero.Namespace,
		"--type", "json", "-p", patch)
}

// agentFlags replaces the flags of the agents, which have none in examples/base.
func (i *installation) agentFlags() error {
	if len(i.options.AgentFlags) == 0 {
		return nil
	}
	flags, err := json.Marshal(i.options.AgentFlags)
	if err != nil {
		return err
	}
	return i.kubectl("-n", velero.Namespace, "patch", "daemonset", contract.DaemonSetName, "--type", "json", "-p",
		fmt.Sprintf(`[{"op":"replace","path":"/spec/template/spec/containers/0/args","value":%s}]`, flags))
}

// password keeps an existing password, because the repositories are encrypted with it.
func (i *installation) password() error {
	found, err := i.cluster.Kubectl(i.ctx, "-n", velero.Namespace, "get", "secret", contract.PasswordSecret,
		"--ignore-not-found", "-o", "name")
	if err != nil || found != "" {
		return err
	}
	create := []string{"-n", velero.Namespace, "create", "secret", "generic", contract.PasswordSecret}
	key := "--from-literal=" + contract.PasswordSecretKey + "="
	fmt.Fprintf(i.out, "$ kubectl %s %s\"$(openssl rand -base64 32)\"\n", strings.Join(create, " "), key)
	_, err = i.cluster.Kubectl(i.ctx, append(create, key+rand.Text())...)
	return err
}

// plugin adds the plugin if Velero does not have it. velero fails if it adds a plugin twice.
func (i *installation) plugin() error {
	want := pluginImage + ":" + i.options.Version
	images, err := i.cluster.Kubectl(i.ctx, "-n", velero.Namespace, "get", "deployment", "velero",
		"-o", "jsonpath={.spec.template.spec.initContainers[*].image}")
	if err != nil {
		return err
	}
	for _, image := range strings.Fields(images) {
		if image == want {
			return nil
		}
	}
	fmt.Fprintln(i.out, "$ velero plugin add", want, "--confirm")
	_, err = i.cluster.Velero(i.ctx, "plugin", "add", want, "--confirm")
	return err
}

func (i *installation) rollOut() error {
	for _, workload := range []string{"deployment/velero", "daemonset/" + contract.DaemonSetName} {
		err := i.kubectl("-n", velero.Namespace, "rollout", "status", workload, "--timeout=120s")
		if err != nil {
			return err
		}
	}
	return nil
}

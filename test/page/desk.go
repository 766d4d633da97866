// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package page

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// Desk is where a reader sits: a folder with what the repository has for users, a home, and the programs.
type Desk struct {
	repository, folder, kubelet string
	environment                 []string
}

// DeskOptions say what a reader has.
type DeskOptions struct {
	// Repository is the folder of the product's go.mod.
	Repository string
	// Folder is an empty one for this desk: a copy of the examples, and whatever the commands write.
	Folder string
	// Kubeconfig is the path of the administrator's.
	Kubeconfig string
	// Programs are folders with kubectl and, where pages use it, velero; they come before PATH.
	Programs []string
	// KubeletRoot is the kubelet's root folder if it is not /var/lib/kubelet. What pages do with examples/base is then
	// done with examples/kubelet-root, in which this folder is put, as docs/platforms.md says.
	KubeletRoot string
}

// standIns answer for programs that a test cannot have or must not start. oc is kubectl but for `oc adm policy`,
// for which OpenShift's client makes this very RoleBinding; make says what it would do.
func standIns(repository string) map[string]string {
	return map[string]string{
		"oc": `#!/bin/bash
set -euo pipefail
if [ "${1-} ${2-}" != "adm policy" ]; then exec kubectl "$@"; fi
[ "$3" = add-scc-to-user ] && [ "$5" = -z ] && [ "$7" = -n ] || { echo "oc $*: not understood" >&2; exit 64; }
kubectl create rolebinding "system:openshift:scc:$4" --clusterrole="system:openshift:scc:$4" \
  --serviceaccount="$8:$6" -n "$8" --dry-run=client -o yaml | kubectl apply -f -
`,
		"make": "#!/bin/bash\nexec /usr/bin/make --no-print-directory -n -C '" + repository + "' \"$@\"\n",
	}
}

// home is the folder below the desk's in which the commands run: what a clone of the repository is called.
const home = "velero-plugin-for-restic"

// NewDesk prepares the folder.
func NewDesk(options DeskOptions) (*Desk, error) {
	d := &Desk{
		repository: options.Repository, folder: options.Folder, kubelet: options.KubeletRoot,
	}
	examples := filepath.Join(d.Folder(), "examples")
	programs := filepath.Join(d.folder, "bin")
	for _, err := range []error{
		os.MkdirAll(programs, 0o755),
		os.MkdirAll(filepath.Join(d.folder, "home"), 0o700),
		os.CopyFS(examples, os.DirFS(filepath.Join(d.repository, "examples"))),
	} {
		if err != nil {
			return nil, fmt.Errorf("preparing a desk: %w", err)
		}
	}
	for name, script := range standIns(d.repository) {
		//nolint:gosec // a program must be executable
		if err := os.WriteFile(filepath.Join(programs, name), []byte(script), 0o755); err != nil {
			return nil, fmt.Errorf("preparing a desk: %w", err)
		}
	}
	search := append([]string{programs}, options.Programs...)
	search = append(search, filepath.Join(d.repository, "bin"), os.Getenv("PATH"))
	d.environment = []string{
		"KUBECONFIG=" + options.Kubeconfig, "PATH=" + strings.Join(search, ":"), "LC_ALL=C.UTF-8",
		// kubectl keeps there what it knows of the cluster.
		"HOME=" + filepath.Join(d.folder, "home"),
	}
	return d, d.setKubeletRoot(filepath.Join(examples, "kubelet-root", "kustomization.yaml"))
}

// setKubeletRoot edits the overlay as its comment tells the reader to.
func (d *Desk) setKubeletRoot(file string) error {
	if d.kubelet == "" {
		return nil
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("preparing a desk: %w", err)
	}
	path := regexp.MustCompile(`(?m)^( *path: )/.*/pods$`)
	if !path.Match(content) {
		return fmt.Errorf("preparing a desk: %s has no line with the path of the kubelet's pods", file)
	}
	content = path.ReplaceAll(content, []byte("${1}"+filepath.Join(d.kubelet, "pods")))
	if err := os.WriteFile(file, content, 0o600); err != nil {
		return fmt.Errorf("preparing a desk: %w", err)
	}
	return nil
}

// Folder is where the commands run: it has the folder examples.
func (d *Desk) Folder() string { return filepath.Join(d.folder, home) }

// patience bounds one block of commands; the longest waits for a rollout or a backup.
const patience = 4 * time.Minute

// Run runs a script in bash, in which every failing command ends it, and returns what it printed on both streams.
// What it exports, the next one has. Whoever asks is answered with yes.
func (d *Desk) Run(ctx context.Context, script string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	exports := filepath.Join(d.folder, "exports")
	prelude := fmt.Sprintf("set -euo pipefail; [ ! -f %[1]q ] || . %[1]q\ntrap 'export -p > %[1]q' EXIT\n", exports)
	cmd := exec.CommandContext(ctx, "bash", "-c", prelude+script)
	cmd.Dir, cmd.Env = d.Folder(), d.environment
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	cmd.Stdin = strings.NewReader("y\n")
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	err := cmd.Run()
	if ctx.Err() != nil {
		err = errors.Join(err, ctx.Err())
	}
	return color.ReplaceAllString(output.String(), ""), err
}

// color is an escape sequence that sets one, which velero prints to whatever it is.
var color = regexp.MustCompile("\x1b\\[[0-9;]*m")

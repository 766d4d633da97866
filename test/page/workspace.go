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

// Workspace is where a reader runs commands: a directory with the examples of the repository, a home directory, and
// programs.
type Workspace struct {
	repository, folder, kubelet string
	environment                 []string
}

// WorkspaceOptions describe what a reader has.
type WorkspaceOptions struct {
	// Repository is the directory of the product's go.mod.
	Repository string
	// Folder is an empty directory. The workspace copies the examples to it, and the commands write their files there.
	Folder string
	// Kubeconfig is the path of the administrator's kubeconfig.
	Kubeconfig string
	// Programs are directories with kubectl and, if pages use it, velero. They come before PATH.
	Programs []string
	// KubeletRoot is the kubelet's root directory if it is not /var/lib/kubelet. The workspace then replaces
	// examples/base in commands with examples/kubelet-root, and sets this directory in that overlay, as
	// docs/platforms.md describes.
	KubeletRoot string
}

// fakePrograms replace programs that a test cannot have or must not run. oc runs kubectl, except for `oc adm policy`,
// which creates the same RoleBinding as OpenShift's client. make only prints its commands.
func fakePrograms(repository string) map[string]string {
	return map[string]string{
		"oc": `#!/bin/bash
set -euo pipefail
if [ "${1-} ${2-}" != "adm policy" ]; then exec kubectl "$@"; fi
[ "$3" = add-scc-to-user ] && [ "$5" = -z ] && [ "$7" = -n ] || { echo "oc $*: unknown arguments" >&2; exit 64; }
kubectl create rolebinding "system:openshift:scc:$4" --clusterrole="system:openshift:scc:$4" \
  --serviceaccount="$8:$6" -n "$8" --dry-run=client -o yaml | kubectl apply -f -
`,
		"make": "#!/bin/bash\nexec /usr/bin/make --no-print-directory -n -C '" + repository + "' \"$@\"\n",
	}
}

// home is the directory in which the commands run, below Folder. Its name is that of a clone of the repository.
const home = "velero-plugin-for-restic"

// NewWorkspace prepares the directory. It fails if it cannot write to it.
func NewWorkspace(options WorkspaceOptions) (*Workspace, error) {
	w := &Workspace{
		repository: options.Repository, folder: options.Folder, kubelet: options.KubeletRoot,
	}
	examples := filepath.Join(w.Folder(), "examples")
	programs := filepath.Join(w.folder, "bin")
	for _, err := range []error{
		os.MkdirAll(programs, 0o755),
		os.MkdirAll(filepath.Join(w.folder, "home"), 0o700),
		os.CopyFS(examples, os.DirFS(filepath.Join(w.repository, "examples"))),
	} {
		if err != nil {
			return nil, fmt.Errorf("preparing a workspace: %w", err)
		}
	}
	for name, script := range fakePrograms(w.repository) {
		//nolint:gosec // a program must be executable
		if err := os.WriteFile(filepath.Join(programs, name), []byte(script), 0o755); err != nil {
			return nil, fmt.Errorf("preparing a workspace: %w", err)
		}
	}
	search := append([]string{programs}, options.Programs...)
	search = append(search, filepath.Join(w.repository, "bin"), os.Getenv("PATH"))
	w.environment = []string{
		"KUBECONFIG=" + options.Kubeconfig, "PATH=" + strings.Join(search, ":"), "LC_ALL=C.UTF-8",
		// kubectl caches its list of API resources there.
		"HOME=" + filepath.Join(w.folder, "home"),
	}
	return w, w.setKubeletRoot(filepath.Join(examples, "kubelet-root", "kustomization.yaml"))
}

// setKubeletRoot edits the overlay as its comment describes.
func (w *Workspace) setKubeletRoot(file string) error {
	if w.kubelet == "" {
		return nil
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("preparing a workspace: %w", err)
	}
	path := regexp.MustCompile(`(?m)^( *path: )/.*/pods$`)
	if !path.Match(content) {
		return fmt.Errorf("preparing a workspace: %s has no line with the path of the kubelet's pods directory", file)
	}
	content = path.ReplaceAll(content, []byte("${1}"+filepath.Join(w.kubelet, "pods")))
	if err := os.WriteFile(file, content, 0o600); err != nil {
		return fmt.Errorf("preparing a workspace: %w", err)
	}
	return nil
}

// Folder returns the directory in which the commands run. It contains the directory examples.
func (w *Workspace) Folder() string { return filepath.Join(w.folder, home) }

// blockTimeout limits one block of commands. The longest block waits for a rollout or a backup.
const blockTimeout = 4 * time.Minute

// Run runs a script in bash, and returns its standard output and standard error. The script ends at the first command
// that fails. The next script gets the variables that this one exports. Every prompt gets the answer yes. It fails if
// the script fails or takes too long.
func (w *Workspace) Run(ctx context.Context, script string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, blockTimeout)
	defer cancel()
	exports := filepath.Join(w.folder, "exports")
	prelude := fmt.Sprintf("set -euo pipefail; [ ! -f %[1]q ] || . %[1]q\ntrap 'export -p > %[1]q' EXIT\n", exports)
	cmd := exec.CommandContext(ctx, "bash", "-c", prelude+script)
	cmd.Dir, cmd.Env = w.Folder(), w.environment
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
	return colorSequence.ReplaceAllString(output.String(), ""), err
}

// colorSequence matches an escape sequence for a color. velero prints colors even if its output is not a terminal.
var colorSequence = regexp.MustCompile("\x1b\\[[0-9;]*m")

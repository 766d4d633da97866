// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package host checks what a machine must offer before a cluster can be started on it, and adds Debian packages.
package host

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// CNI is where Debian's containernetworking-plugins puts its programs.
const CNI = "/usr/lib/cni"

// Busybox is the program of the test image. Debian's busybox-static has no dynamic loader, so it runs alone.
const Busybox = "/bin/busybox"

// need is a program with the Debian package that brings it.
type need struct{ program, debian string }

func needs() []need {
	return []need{
		{"etcd", "etcd-server"},
		{"containerd", "containerd"},
		{"ctr", "containerd"},
		{"runc", "runc"},
		{CNI + "/bridge", "containernetworking-plugins"},
		{CNI + "/host-local", "containernetworking-plugins"},
		{"iptables", "iptables"},
		{"conntrack", "conntrack"},
		{"ip", "iproute2"},
		{"setfacl", "acl"},
		{"setfattr", "attr"},
		{"nsenter", "util-linux"},
		{"unshare", "util-linux"},
		{"mount", "mount"},
		{"sshd", "openssh-server"},
		{"ssh-keyscan", "openssh-client"},
		{"bindfs", "bindfs"},
		{"tmux", "tmux"},
	}
}

// Program finds a program of the machine by name, also in the folders that only root's shells look into.
func Program(name string) (string, error) {
	for _, folder := range []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"} {
		file := filepath.Join(folder, name)
		if info, err := os.Stat(file); err == nil && info.Mode()&0o111 != 0 && !info.IsDir() {
			return file, nil
		}
	}
	return "", fmt.Errorf("finding %s: it is not installed", name)
}

// Prepare makes the machine ready: it installs the Debian packages that are missing and says so on out.
//
// Everything that stands in the way is checked first and reported in one error, before anything is changed.
func Prepare(ctx context.Context, out io.Writer) error {
	packages := missingPackages()
	if err := check(packages); err != nil {
		return err
	}
	if len(packages) == 0 {
		return nil
	}
	fmt.Fprintf(out, "installing Debian packages: %s\n", strings.Join(packages, " "))
	if err := apt(ctx, "update", "-q"); err != nil {
		return fmt.Errorf("updating the package lists: %w", err)
	}
	install := append([]string{"install", "-q", "-y", "--no-install-recommends"}, packages...)
	if err := apt(ctx, install...); err != nil {
		return fmt.Errorf("installing %s: %w", strings.Join(packages, " "), err)
	}
	if left := missingPackages(); len(left) > 0 {
		return fmt.Errorf("installing packages: the programs of %s are still not there", strings.Join(left, ", "))
	}
	return nil
}

func check(packages []string) error {
	var problems []string
	if os.Geteuid() != 0 {
		problems = append(problems, "it must run as root: start it with sudo or in a root shell")
	}
	if runtime.GOOS != "linux" {
		problems = append(problems, "it needs Linux")
	}
	if problem := checkCgroups("/sys/fs/cgroup"); problem != "" {
		problems = append(problems, problem)
	}
	if len(packages) > 0 {
		if _, err := Program("apt-get"); err != nil {
			problems = append(problems, "these Debian packages are missing, and there is no apt-get to add them: "+
				strings.Join(packages, " "))
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return errors.New("this machine cannot run the cluster:\n  - " + strings.Join(problems, "\n  - ") +
		"\nTo use a cluster that you have, set CLUSTER=existing and KUBECONFIG")
}

// checkCgroups looks for the controllers that the kubelet needs, in either version. An empty answer means that all are
// there.
func checkCgroups(root string) string {
	var absent []string
	unified, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
	for _, controller := range []string{"cpu", "cpuset", "memory", "pids"} {
		if err == nil {
			if !strings.Contains(" "+strings.TrimSpace(string(unified))+" ", " "+controller+" ") {
				absent = append(absent, controller)
			}
			continue
		}
		if _, err := os.Stat(filepath.Join(root, controller, "cgroup.procs")); err != nil {
			absent = append(absent, controller)
		}
	}
	if len(absent) == 0 {
		return ""
	}
	return fmt.Sprintf("it needs the cgroup controllers %s below %s: run it on a machine or in a privileged container "+
		"that has them", strings.Join(absent, ", "), root)
}

func missingPackages() []string {
	var missing []string
	seen := map[string]bool{}
	add := func(debian string) {
		if !seen[debian] {
			seen[debian] = true
			missing = append(missing, debian)
		}
	}
	for _, n := range needs() {
		if filepath.IsAbs(n.program) {
			if _, err := os.Stat(n.program); err != nil {
				add(n.debian)
			}
			continue
		}
		if _, err := Program(n.program); err != nil {
			add(n.debian)
		}
	}
	if !static(Busybox) {
		add("busybox-static")
	}
	return missing
}

// static says whether the file is a program that needs no dynamic loader.
func static(file string) bool {
	program, err := elf.Open(file)
	if err != nil {
		return false
	}
	defer func() { _ = program.Close() }() // read only: nothing can be lost
	for _, segment := range program.Progs {
		if segment.Type == elf.PT_INTERP {
			return false
		}
	}
	return true
}

func apt(ctx context.Context, args ...string) error {
	// Another apt-get, such as the nightly one, gets two minutes to end.
	cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-o", "DPkg::Lock::Timeout=120"}, args...)...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, said)
	}
	return nil
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package host checks the requirements of a machine before a cluster starts on it, and installs Debian packages.
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

// CNI is the directory of the programs in Debian's package containernetworking-plugins.
const CNI = "/usr/lib/cni"

// Busybox is the program of the test image. Debian's busybox-static needs no dynamic loader, so the image needs no
// other file.
const Busybox = "/bin/busybox"

// need is a program and the Debian package that contains it.
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

// Program returns the path of a program of the machine, also if it is in a directory that is only in root's PATH. It
// fails if the program is not installed.
func Program(name string) (string, error) {
	for _, folder := range []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"} {
		file := filepath.Join(folder, name)
		if info, err := os.Stat(file); err == nil && info.Mode()&0o111 != 0 && !info.IsDir() {
			return file, nil
		}
	}
	return "", fmt.Errorf("finding %s: it is not installed", name)
}

// Prepare installs missing Debian packages and prints their names to out.
//
// It first checks all requirements, and reports all problems in one error before it changes anything.
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
		return fmt.Errorf("installing packages: the programs of %s are still missing", strings.Join(left, ", "))
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
			problems = append(problems, "these Debian packages are missing, and there is no apt-get to install them: "+
				strings.Join(packages, " "))
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return errors.New("this machine cannot run the cluster:\n  - " + strings.Join(problems, "\n  - ") +
		"\nTo use your own cluster, set CLUSTER=existing and KUBECONFIG")
}

// checkCgroups checks for the controllers that the kubelet needs, in both cgroup versions. It returns an empty string
// if none is missing.
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

// static returns whether the file is a program that needs no dynamic loader.
func static(file string) bool {
	program, err := elf.Open(file)
	if err != nil {
		return false
	}
	defer func() { _ = program.Close() }() // read-only, so an error loses nothing
	for _, segment := range program.Progs {
		if segment.Type == elf.PT_INTERP {
			return false
		}
	}
	return true
}

func apt(ctx context.Context, args ...string) error {
	// Wait two minutes for another apt-get, such as the daily one.
	cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-o", "DPkg::Lock::Timeout=120"}, args...)...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, output)
	}
	return nil
}

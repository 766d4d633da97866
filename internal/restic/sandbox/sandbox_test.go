// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package sandbox_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/velero-restic/velero-plugin-for-restic/internal/restic/sandbox"
)

// TestMain runs this program a second time as a user without capabilities, for TestWithoutCapabilities.
func TestMain(m *testing.M) {
	if base := os.Getenv("SANDBOX_BASE"); base != "" {
		err := sandbox.Run(base, nil, func() error { return errors.New("the sandbox was built") })
		fmt.Println(errors.Is(err, sandbox.ErrUnavailable), err)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a sandbox needs root")
	}
}

// run calls do in a sandbox, and fails the test if there was none.
func run(t *testing.T, paths []sandbox.Path, do func()) {
	t.Helper()
	done := false
	err := sandbox.Run(t.TempDir(), paths, func() error {
		do()
		done = true
		return nil
	})
	if err != nil || !done {
		t.Fatalf("got %v, done %t", err, done)
	}
}

// TestOnlyThePathsExist looks for other files, and tries to change those that are read-only.
func TestOnlyThePathsExist(t *testing.T) {
	needsRoot(t)
	readable, writable := t.TempDir(), t.TempDir()
	secret := filepath.Join(t.TempDir(), "secret")
	for _, path := range []string{filepath.Join(readable, "file"), filepath.Join(writable, "file"), secret} {
		if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	paths := []sandbox.Path{
		{Name: filepath.Join(writable, "file")},
		{Name: writable, Writable: true},
		{Name: readable},
		{Name: filepath.Join(readable, "file")},
		{Name: "/does/not/exist", Optional: true},
	}
	run(t, paths, func() {
		for _, path := range []string{filepath.Join(readable, "file"), filepath.Join(writable, "file")} {
			if content, err := os.ReadFile(path); string(content) != "content" {
				t.Errorf("%s holds %q, %v", path, content, err)
			}
		}
		for _, path := range []string{secret, "/etc/passwd", "/proc/self/environ", "/sys", "/root", "/../etc/passwd"} {
			if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s is there: %v", path, err)
			}
		}
		for _, path := range []string{
			filepath.Join(readable, "new"), filepath.Join(writable, "file"), "/new", filepath.Join(filepath.Dir(readable), "new"),
		} {
			if err := os.WriteFile(path, nil, 0o600); !errors.Is(err, unix.EROFS) {
				t.Errorf("writing %s gave %v", path, err)
			}
		}
		if err := os.WriteFile(filepath.Join(writable, "new"), nil, 0o600); err != nil {
			t.Error(err)
		}
	})
	if _, err := os.Stat(filepath.Join(writable, "new")); err != nil {
		t.Errorf("what was written in the sandbox is not outside of it: %v", err)
	}
}

// TestNoLinkIsFollowed tries every kind of access through a symbolic link to a directory and to a file.
func TestNoLinkIsFollowed(t *testing.T) {
	needsRoot(t)
	volume := t.TempDir()
	inside := filepath.Join(volume, "inside")
	if err := errors.Join(
		os.Mkdir(inside, 0o755), os.WriteFile(filepath.Join(inside, "file"), []byte("content"), 0o600),
		os.Symlink("inside", filepath.Join(volume, "dir")), os.Symlink("inside/file", filepath.Join(volume, "link")),
	); err != nil {
		t.Fatal(err)
	}
	dir, link := filepath.Join(volume, "dir"), filepath.Join(volume, "link")
	file := filepath.Join(dir, "file")
	accesses := map[string]func() error{
		"read":              func() error { _, err := os.ReadFile(file); return err },
		"read of a link":    func() error { _, err := os.ReadFile(link); return err },
		"list":              func() error { _, err := os.ReadDir(dir); return err },
		"lstat":             func() error { _, err := os.Lstat(file); return err },
		"create":            func() error { return os.WriteFile(filepath.Join(dir, "new"), nil, 0o600) },
		"mkdir":             func() error { return os.Mkdir(filepath.Join(dir, "new"), 0o700) },
		"mknod":             func() error { return unix.Mknod(filepath.Join(dir, "new"), unix.S_IFIFO, 0) },
		"symlink":           func() error { return os.Symlink("x", filepath.Join(dir, "new")) },
		"hard link":         func() error { return os.Link(file, filepath.Join(volume, "new")) },
		"rename":            func() error { return os.Rename(file, filepath.Join(volume, "new")) },
		"remove":            func() error { return os.Remove(file) },
		"truncate":          func() error { return os.Truncate(link, 0) },
		"chmod":             func() error { return os.Chmod(link, 0o777) },
		"chown":             func() error { return os.Chown(link, 1, 1) },
		"lchown of a child": func() error { return os.Lchown(file, 1, 1) },
		"utimes":            func() error { return os.Chtimes(link, time.Now(), time.Now()) },
		"setxattr":          func() error { return unix.Setxattr(link, "user.x", []byte("x"), 0) },
		"lsetxattr":         func() error { return unix.Lsetxattr(file, "user.x", []byte("x"), 0) },
		"chdir":             func() error { return unix.Chdir(dir) },
	}
	run(t, []sandbox.Path{{Name: volume, Writable: true, Untrusted: true}}, func() {
		for name, access := range accesses {
			if err := access(); !errors.Is(err, unix.ELOOP) {
				t.Errorf("%s gave %v, want ELOOP", name, err)
			}
		}
		if target, err := os.Readlink(link); target != "inside/file" {
			t.Errorf("readlink gave %q, %v", target, err)
		}
		if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
			t.Errorf("lstat gave %v, %v", info, err)
		}
		if err := errors.Join(os.Symlink("/etc", filepath.Join(volume, "fresh")), os.Lchown(link, 1, 1)); err != nil {
			t.Errorf("a link cannot be restored: %v", err)
		}
	})
	if content, err := os.ReadFile(file); string(content) != "content" {
		t.Errorf("outside of the sandbox the file holds %q, %v", content, err)
	}
}

// TestNestedMountIsLeftOut has another file system mounted in the volume, as a FUSE program of the tenant could.
func TestNestedMountIsLeftOut(t *testing.T) {
	needsRoot(t)
	volume := t.TempDir()
	nested := filepath.Join(volume, "nested")
	if err := os.Mkdir(nested, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", nested, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(nested, unix.MNT_DETACH) })
	if err := os.WriteFile(filepath.Join(nested, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, []sandbox.Path{{Name: volume, Untrusted: true}}, func() {
		if entries, err := os.ReadDir(nested); err != nil || len(entries) != 0 {
			t.Errorf("got %v, %v", entries, err)
		}
	})
}

// TestReadOnlyMountStaysReadOnly asks for writing where the mount of the volume does not allow it.
func TestReadOnlyMountStaysReadOnly(t *testing.T) {
	needsRoot(t)
	volume := t.TempDir()
	if err := unix.Mount("tmpfs", volume, "tmpfs", unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(volume, unix.MNT_DETACH) })
	run(t, []sandbox.Path{{Name: volume, Writable: true, Untrusted: true}}, func() {
		if err := os.WriteFile(filepath.Join(volume, "new"), nil, 0o600); !errors.Is(err, unix.EROFS) {
			t.Errorf("got %v", err)
		}
	})
}

// TestProcessCannotLeave looks at a process in the sandbox from outside: at its capabilities, its root and its mounts.
func TestProcessCannotLeave(t *testing.T) {
	needsRoot(t)
	ownMounts := mounts(t, os.Getpid())
	paths := []sandbox.Path{{Name: os.DevNull, Writable: true}}
	for _, name := range []string{"/bin", "/usr", "/lib", "/lib64"} {
		paths = append(paths, sandbox.Path{Name: name, Optional: true})
	}
	run(t, paths, func() {
		process := exec.Command("/bin/sh", "-c", "echo started; read line; chroot / /bin/true || echo refused")
		input, err := process.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		output, err := process.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := process.Start(); err != nil {
			t.Error(err)
			return
		}
		lines := bufio.NewReader(output)
		if line, err := lines.ReadString('\n'); line != "started\n" {
			t.Errorf("got %q, %v", line, err)
		}
		fromOutside(func() { checkProcess(t, process.Process.Pid) })
		if _, err := io.WriteString(input, "go on\n"); err != nil {
			t.Error(err)
		}
		if line, err := lines.ReadString('\n'); line != "refused\n" {
			t.Errorf("chroot: got %q, %v", line, err)
		}
		if err := process.Wait(); err != nil {
			t.Error(err)
		}
	})
	if after := mounts(t, os.Getpid()); after != ownMounts {
		t.Errorf("the sandbox changed the mounts of this process:\n%s\nto\n%s", ownMounts, after)
	}
	if _, err := os.Stat("/proc/self"); err != nil {
		t.Errorf("the sandbox changed the root of this process: %v", err)
	}
}

// fromOutside calls do on a thread outside of the sandbox.
func fromOutside(do func()) {
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	<-done
}

func mounts(t *testing.T, pid int) string {
	t.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		t.Error(err)
	}
	return string(content)
}

func checkProcess(t *testing.T, pid int) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Error(err)
	}
	var allowed uint64
	for _, capability := range sandbox.KeptCapabilities() {
		allowed |= 1 << capability
	}
	for _, set := range []string{"CapPrm", "CapEff", "CapInh", "CapAmb"} {
		match := regexp.MustCompile(set + `:\s+([0-9a-f]+)`).FindStringSubmatch(string(status))
		if match == nil {
			t.Errorf("no %s in %s", set, status)
			continue
		}
		got, err := strconv.ParseUint(match[1], 16, 64)
		if err != nil || got&^allowed != 0 {
			t.Errorf("%s is %s, more than %x (%v)", set, match[1], allowed, err)
		}
	}
	if !strings.Contains(string(status), "NoNewPrivs:\t1") {
		t.Error("the process may gain privileges")
	}
}

// TestUnmountReachesTheSandbox unmounts another pod's volume on the node while a sandbox exists: a copy of the mount
// would keep its storage busy.
func TestUnmountReachesTheSandbox(t *testing.T) {
	needsRoot(t)
	node := t.TempDir()
	if err := errors.Join(
		unix.Mount(node, node, "", unix.MS_BIND, ""), unix.Mount("", node, "", unix.MS_SHARED, ""),
	); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(node, unix.MNT_DETACH) })
	other := filepath.Join(node, "other-volume")
	if err := errors.Join(os.Mkdir(other, 0o700), unix.Mount("tmpfs", other, "tmpfs", 0, "")); err != nil {
		t.Fatal(err)
	}
	// The kernel reports IN_UNMOUNT when the last mount of a file system is gone (inotify(7)).
	events, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(events) }()
	if _, err := unix.InotifyAddWatch(events, other, unix.IN_DELETE_SELF); err != nil {
		t.Fatal(err)
	}
	run(t, nil, func() {
		fromOutside(func() {
			if err := unix.Unmount(other, 0); err != nil {
				t.Error(err)
			}
			ready, err := unix.Poll([]unix.PollFd{{Fd: int32(events), Events: unix.POLLIN}}, 5000)
			if err != nil || ready != 1 {
				t.Errorf("the sandbox keeps the file system mounted: %d events, %v", ready, err)
			}
		})
	})
}

// TestWithoutCapabilities runs as a user who may not mount anything.
func TestWithoutCapabilities(t *testing.T) {
	needsRoot(t)
	// Only root may enter the directories that t.TempDir creates.
	dir, err := os.MkdirTemp("", "sandbox") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	content, err := os.ReadFile(os.Args[0])
	program := filepath.Join(dir, "test")
	if err := errors.Join(err, os.Chmod(dir, 0o755), os.WriteFile(program, content, 0o755)); err != nil {
		t.Fatal(err)
	}
	process := exec.Command(program)
	process.Env = []string{"SANDBOX_BASE=" + dir}
	process.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := process.CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "true ") {
		t.Errorf("got %q, %v", out, err)
	}
}

// TestErrors has what a caller can do wrong.
func TestErrors(t *testing.T) {
	needsRoot(t)
	for name, path := range map[string]sandbox.Path{
		"a relative path":        {Name: "relative"},
		"a path that is missing": {Name: "/does/not/exist"},
	} {
		t.Run(name, func(t *testing.T) {
			called := false
			err := sandbox.Run(t.TempDir(), []sandbox.Path{path}, func() error { called = true; return nil })
			if err == nil || called || errors.Is(err, sandbox.ErrUnavailable) {
				t.Errorf("got %v, called %t", err, called)
			}
		})
	}
}

// BenchmarkRun measures what a sandbox costs beside the process that runs in it.
func BenchmarkRun(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("a sandbox needs root")
	}
	base, volume := b.TempDir(), b.TempDir()
	paths := []sandbox.Path{{Name: volume, Untrusted: true}, {Name: os.DevNull}, {Name: "/etc/passwd"}, {Name: "/etc/ssl"}}
	for b.Loop() {
		if err := sandbox.Run(base, paths, func() error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

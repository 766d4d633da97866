// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

//go:build cluster

package velero_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/node"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/part"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
)

const sample = `
apiVersion: v1
kind: Namespace
metadata: {name: foo}
---
apiVersion: v1
kind: Pod
metadata:
  name: sample
  namespace: foo
  labels: {app: sample}
  annotations: {backup.velero.io/backup-volumes: data}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: web
    image: ` + node.BusyboxImage + `
    command: [sh, -c, "echo started; httpd -f -p 8080 -h /data"]
    volumeMounts: [{name: data, mountPath: /data}]
    readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
  volumes: [{name: data, emptyDir: {}}]
---
apiVersion: v1
kind: Service
metadata: {name: sample, namespace: foo}
spec: {selector: {app: sample}, ports: [{port: 80, targetPort: 8080}]}
`

// TestTwoClusters backs up in one cluster, restores in another, and checks what is left after both stop. It needs root.
func TestTwoClusters(t *testing.T) {
	first, second := start(t, "use-a", ""), start(t, "use-b", "use-a")
	if err := velero.Install(t.Context(), first, velero.Options{NodeAgent: true}, t.Output()); err != nil {
		t.Fatal(err)
	}
	if err := first.Apply(t.Context(), []byte(sample)); err != nil {
		t.Fatal(err)
	}
	kubectl(t, first, "-n", "foo", "wait", "pod/sample", "--for=condition=Ready", "--timeout=60s")
	kubectl(t, first, "-n", "foo", "exec", "sample", "--", "sh", "-c", "echo content > /data/file")
	service := kubectl(t, first, "-n", "foo", "get", "service", "sample", "-o", "jsonpath={.spec.clusterIP}")
	answer := kubectl(t, first, "-n", "foo", "exec", "sample", "--", "wget", "-q", "-O-", "http://"+service+"/file")
	if answer != "content\n" {
		t.Errorf("the pod's Service answers %q, want the file", answer)
	}
	if log := kubectl(t, first, "-n", "foo", "logs", "sample"); log != "started\n" {
		t.Errorf("the pod's log is %q, want started", log)
	}
	if _, err := first.Velero(t.Context(), "backup", "create", "b", "--include-namespaces=foo", "--wait"); err != nil {
		t.Fatal(err)
	}
	phase := kubectl(t, first, "-n", "velero", "get", "backup", "b", "-o", "jsonpath={.status.phase}")
	if phase != "Completed" {
		t.Errorf("the backup is %s, want Completed", phase)
	}
	checkRestore(t, second)
	checkRestart(t, first)
	checkDown(t, second, first)
}

// checkRestore restores the first cluster's pod and its data in another cluster, from the shared bucket.
func checkRestore(t *testing.T, n *node.Node) {
	t.Helper()
	if err := velero.Install(t.Context(), n, velero.Options{NodeAgent: true}, t.Output()); err != nil {
		t.Fatal(err)
	}
	// Velero looks for backups of others once a minute.
	kubectl(t, n, "-n", "velero", "wait", "--for=create", "backup/b", "--timeout=120s")
	if _, err := n.Velero(t.Context(), "restore", "create", "--from-backup=b", "--wait"); err != nil {
		t.Fatal(err)
	}
	kubectl(t, n, "-n", "foo", "wait", "pod/sample", "--for=condition=Ready", "--timeout=60s")
	if data := kubectl(t, n, "-n", "foo", "exec", "sample", "--", "cat", "/data/file"); data != "content\n" {
		t.Errorf("the restored file is %q, want content", data)
	}
}

// checkRestart checks that pods survive a restart of the kubelet, and that Up detects a running cluster.
func checkRestart(t *testing.T, n *node.Node) {
	t.Helper()
	if err := n.Restart(t.Context(), "kubelet"); err != nil {
		t.Fatal(err)
	}
	if err := n.Up(t.Context(), node.Options{}); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for {
		data, err := n.Kubectl(t.Context(), "-n", "foo", "exec", "sample", "--", "cat", "/data/file")
		if err == nil && data == "content\n" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after a restart of the kubelet the pod says %q, error %v", data, err)
		}
		time.Sleep(time.Second)
	}
}

func checkDown(t *testing.T, nodes ...*node.Node) {
	t.Helper()
	for _, n := range nodes {
		if err := n.Down(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := n.Plan(); !errors.Is(err, node.ErrAbsent) {
			t.Errorf("the plan of cluster %s gives %v, want %v", n.Name(), err, node.ErrAbsent)
		}
		mounts, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(mounts), n.State()+"/") {
			t.Errorf("mounts of cluster %s are left:\n%s", n.Name(), mounts)
		}
		groups, err := filepath.Glob("/sys/fs/cgroup/*/velero-restic-" + n.Name())
		if err != nil || len(groups) > 0 {
			t.Errorf("cgroups of cluster %s are left: %v (error %v)", n.Name(), groups, err)
		}
		for _, cmdline := range commandLines(t) {
			if strings.Contains(cmdline, n.State()+"/") {
				t.Errorf("a process of cluster %s is left: %q", n.Name(), cmdline)
			}
		}
	}
}

func commandLines(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, file := range files {
		// The process may have ended since it was listed.
		if content, err := os.ReadFile(file); err == nil {
			lines = append(lines, string(content))
		}
	}
	return lines
}

func start(t *testing.T, name, storeFrom string) *node.Node {
	t.Helper()
	cache, err := part.Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.New(name, cache, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Up(t.Context(), node.Options{StoreFrom: storeFrom}); err != nil {
		t.Fatal(err)
	}
	return n
}

func kubectl(t *testing.T, n *node.Node, args ...string) string {
	t.Helper()
	out, err := n.Kubectl(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

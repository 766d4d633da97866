// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/velero-restic/velero-plugin-for-restic/agent/agenttest"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic/restictest"
)

// TestNodeCache has a cluster with two nodes and two installations of Velero: an agent keeps what concerns its own.
func TestNodeCache(t *testing.T) {
	backup := func(namespace, node string) *resticv1.PodVolumeBackup {
		return &resticv1.PodVolumeBackup{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "of-" + node},
			Spec:       resticv1.PodVolumeBackupSpec{Node: node},
		}
	}
	restore := func(namespace string) *resticv1.PodVolumeRestore {
		return &resticv1.PodVolumeRestore{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "restore"}}
	}
	config := agenttest.NewAPIServer(t, newScheme(),
		podOn("node-1", "web"), podOn("node-2", "db"), podOn("", "waiting"),
		backup("velero", "node-1"), backup("velero", "node-2"), backup("other-velero", "node-1"),
		restore("velero"), restore("other-velero"))
	manager, err := newNode(config, valid(t, "--metrics-address=0", "--health-address=0"))
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]struct {
		object client.Object
		list   client.ObjectList
		want   []string
	}{
		"pods":              {&corev1.Pod{}, &corev1.PodList{}, []string{"shop/web"}},
		"PodVolumeBackups":  {&resticv1.PodVolumeBackup{}, &resticv1.PodVolumeBackupList{}, []string{"velero/of-node-1"}},
		"PodVolumeRestores": {&resticv1.PodVolumeRestore{}, &resticv1.PodVolumeRestoreList{}, []string{"velero/restore"}},
	}
	for _, kind := range kinds {
		if _, err := manager.GetCache().GetInformer(t.Context(), kind.object); err != nil {
			t.Fatal(err)
		}
	}
	go func() { _ = manager.GetCache().Start(t.Context()) }() // it ends with the test
	if !manager.GetCache().WaitForCacheSync(t.Context()) {
		t.Fatal("the caches are not filled")
	}
	for name, kind := range kinds {
		if err := manager.GetClient().List(t.Context(), kind.list); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(kind.want, names(t, kind.list)); diff != "" {
			t.Errorf("the cache's %s differ (-want +got):\n%s", name, diff)
		}
	}
	if err := manager.GetClient().List(t.Context(), &corev1.SecretList{}); err == nil {
		t.Error("the cache takes up a kind because somebody reads it")
	}
}

func names(t *testing.T, list client.ObjectList) []string {
	t.Helper()
	items, err := meta.ExtractList(list)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, item := range items {
		object, ok := item.(client.Object)
		if !ok {
			t.Fatalf("%T is no object", item)
		}
		all = append(all, object.GetNamespace()+"/"+object.GetName())
	}
	slices.Sort(all)
	return all
}

// cluster returns what the agent reads when it starts, and a location whose repositories are on the system's disk.
func cluster() client.Client {
	return fake.NewClientBuilder().WithScheme(newScheme()).WithObjects(
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: metav1.NamespaceSystem, UID: "cluster-1"}},
		&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: "velero", Name: contract.PasswordSecret},
			Data:       map[string][]byte{contract.PasswordSecretKey: []byte("correct horse")},
		},
		&velerov1.BackupStorageLocation{
			ObjectMeta: metav1.ObjectMeta{Namespace: "velero", Name: "default"},
			Spec: velerov1.BackupStorageLocationSpec{
				Provider: "example.com/folder", Config: map[string]string{"resticRepoPrefix": "/etc"},
			},
		}).Build()
}

func TestNodeMover(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	scratch := t.TempDir() + "/scratch"
	flags := []string{"--restic=" + restictest.Binary(t), "--scratch-dir=" + scratch}
	for pod, shared := range map[string]bool{host: false, "restic-1": true} {
		mover, err := newNodeMover(t.Context(), cluster(), valid(t, append(flags, "--pod-name="+pod)...))
		if err != nil {
			t.Fatal(err)
		}
		if mover.Host != host || mover.SharedHost != shared {
			t.Errorf("pod %s has host name %s, shared: %t, want %s, %t", pod, mover.Host, mover.SharedHost, host, shared)
		}
		if runner, ok := mover.Opener.Runner.(restic.Process); os.Geteuid() == 0 && (!ok || runner.Sandbox == "") {
			t.Errorf("volumes are moved without a sandbox, by %+v", mover.Opener.Runner)
		}
		if mover.Cluster != "cluster-1" {
			t.Errorf("snapshots are of cluster %q", mover.Cluster)
		}
		// The folder /etc is on the container's own disk, wherever this test runs.
		_, err = mover.Opener.Open(t.Context(), "default", "shop")
		if err == nil || !strings.Contains(err.Error(), "container's own disk") {
			t.Errorf("repositories in /etc give error %v, want one about the container's own disk", err)
		}
	}
	if info, err := os.Stat(scratch); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the scratch folder is %v, error %v, want it private", info, err)
	}
}

func TestNodeMoverRefuses(t *testing.T) {
	empty := fake.NewClientBuilder().WithScheme(runtime.NewScheme()).Build()
	for name, test := range map[string]struct {
		restic string
		reader client.Reader
		want   string
	}{
		"an older restic":       {resticScript(t, "0.18.0"), cluster(), "is restic 0.18.0, and this agent is made for"},
		"no restic":             {"/nowhere/restic", cluster(), "/nowhere/restic"},
		"a cluster without one": {restictest.Binary(t), empty, "which cluster this is"},
	} {
		t.Run(name, func(t *testing.T) {
			options := valid(t, "--restic="+test.restic, "--scratch-dir="+t.TempDir())
			if _, err := newNodeMover(t.Context(), test.reader, options); err == nil ||
				!strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want one that says %q", err, test.want)
			}
		})
	}
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	neturl "net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/part"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/pki"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
)

// storageServers are the locations of TestStorageLocations besides the default one, whose backups of Velero's own are all in
// one bucket, and what holds their repositories.
type storageServers struct {
	t *testing.T
	// host is the address of this machine that pods reach.
	host string
	// folders are where each location's repositories are on this machine, by the name of the location.
	folders map[string]string
}

// TestStorageLocations has four locations in one cluster: the default one, one in another bucket with a prefix and a
// credential of its own, one whose repositories are on an SFTP server, and one on restic's REST server, behind TLS with
// a private authority. The same volume is backed up to each, and restored from the two that are no S3.
func TestStorageLocations(t *testing.T) {
	t.Parallel()
	needsNode(t)
	ns := newNamespace(t, "storages", 0)
	endpoint, err := neturl.Parse(suite.store.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	servers := &storageServers{t: t, host: endpoint.Hostname(), folders: map[string]string{}}
	bucket := servers.bucket()
	servers.second(bucket)
	servers.sftp()
	servers.rest()
	t.Cleanup(func() { servers.remove() })

	apply(t, ns.pod("app", "data", emptyDir("data")))
	ns.waitReady("app")
	ns.shell("app", "echo default >/data/file")
	wantCompleted(t, backUp(t, "storages-default", "--include-namespaces", ns.name))
	wantBackedUp(t, "storages-default", "app/data")
	for location := range servers.folders {
		ns.shell("app", "echo "+location+" >/data/file")
		name := "storages-" + location
		wantCompleted(t, backUp(t, name, "--include-namespaces", ns.name, "--storage-location", location))
		taken := wantBackedUp(t, name, "app/data")["app/data"]
		if taken.Spec.BackupStorageLocation != location || taken.Status.SnapshotID == "" {
			t.Errorf("location %s: %+v", location, taken)
		}
		snapshot := filepath.Join(servers.folders[location], ns.name, "snapshots", taken.Status.SnapshotID)
		if _, err := os.Stat(snapshot); err != nil {
			t.Errorf("location %s: the snapshot is not where it belongs: %v", location, err)
		}
	}
	for _, location := range []string{"sftp", "rest"} {
		ns.delete()
		wantRestored(t, restore(t, "storages-"+location, "storages-"+location))
		ns.waitReady("app")
		if got := strings.TrimSpace(ns.shell("app", "cat /data/file")); got != location {
			t.Errorf("from location %s came %q", location, got)
		}
	}
}

// bucket makes a second bucket in the gateway.
func (servers *storageServers) bucket() string {
	servers.t.Helper()
	folder := filepath.Join(filepath.Dir(suite.store.Folder), "storages")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		servers.t.Fatal(err)
	}
	return folder
}

// location makes a BackupStorageLocation in the second bucket and waits until Velero can use it.
func (servers *storageServers) location(name string, change func(*velerov1.BackupStorageLocation)) {
	servers.t.Helper()
	location := &velerov1.BackupStorageLocation{
		TypeMeta: typeMeta("velero.io/v1", "BackupStorageLocation"),
		ObjectMeta: metav1.ObjectMeta{
			Namespace: velero.Namespace, Name: name, Annotations: map[string]string{},
		},
		Spec: velerov1.BackupStorageLocationSpec{
			Provider: "velero.io/aws",
			Config: map[string]string{
				"region": suite.store.Region, "s3Url": suite.store.Endpoint, "s3ForcePathStyle": "true",
			},
			StorageType: velerov1.StorageType{
				ObjectStorage: &velerov1.ObjectStorageLocation{Bucket: "storages", Prefix: name},
			},
		},
	}
	change(location)
	apply(servers.t, location)
	eventually(servers.t, 90*time.Second, "location "+name+" available", func() error {
		got, err := tryGet[velerov1.BackupStorageLocation](servers.t, "-n", velero.Namespace,
			"backupstoragelocations.velero.io", name)
		if err != nil || got.Status.Phase == velerov1.BackupStorageLocationPhaseAvailable {
			return err
		}
		return fmt.Errorf("it is %q: %s", got.Status.Phase, got.Status.Message)
	})
}

func (servers *storageServers) secret(name string, keys map[string]string) {
	servers.t.Helper()
	apply(servers.t, &corev1.Secret{
		TypeMeta:   typeMeta("v1", "Secret"),
		ObjectMeta: metav1.ObjectMeta{Namespace: velero.Namespace, Name: name}, StringData: keys,
	})
}

// second is in the bucket itself, with a credential of its own.
func (servers *storageServers) second(bucket string) {
	servers.t.Helper()
	credential, err := os.ReadFile(suite.store.Credentials)
	if err != nil {
		servers.t.Fatal(err)
	}
	profile := strings.Replace(string(credential), "[default]", "[mine]", 1)
	servers.secret("storages-credential", map[string]string{"cloud": profile})
	servers.location("second", func(location *velerov1.BackupStorageLocation) {
		location.Spec.Config["profile"] = "mine"
		location.Spec.Credential = &corev1.SecretKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: "storages-credential"}, Key: "cloud",
		}
	})
	servers.folders["second"] = filepath.Join(bucket, "second", "restic")
}

// sftp has its repositories on an SSH server of this machine.
func (servers *storageServers) sftp() {
	servers.t.Helper()
	dir := servers.t.TempDir()
	for _, name := range []string{"host", "user"} {
		servers.command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, name))
	}
	address := servers.freeAddress()
	_, port, _ := net.SplitHostPort(address)
	config := filepath.Join(dir, "config")
	lines := []string{
		"ListenAddress " + address, "HostKey " + filepath.Join(dir, "host"), "PidFile none", "StrictModes no",
		"AuthorizedKeysFile " + filepath.Join(dir, "user.pub"), "UsePAM no", "PasswordAuthentication no",
		"PermitRootLogin prohibit-password", "Subsystem sftp internal-sftp", "",
	}
	folder := filepath.Join(dir, "srv")
	if err := errors.Join(os.WriteFile(config, []byte(strings.Join(lines, "\n")), 0o600),
		os.MkdirAll("/run/sshd", 0o755), os.Mkdir(folder, 0o755)); err != nil {
		servers.t.Fatal(err)
	}
	servers.start(address, "/usr/sbin/sshd", "-D", "-e", "-f", config)
	private, err := os.ReadFile(filepath.Join(dir, "user"))
	if err != nil {
		servers.t.Fatal(err)
	}
	servers.secret("storages-sftp", map[string]string{
		"ssh-privatekey": string(private), "known_hosts": servers.command("ssh-keyscan", "-p", port, servers.host),
	})
	servers.location("sftp", func(location *velerov1.BackupStorageLocation) {
		// The plugin for AWS would not take them in spec.config.
		location.Annotations[contract.AnnotationSetting+"resticRepoPrefix"] = "sftp://root@" + address + "/" + folder
		location.Annotations[contract.AnnotationSetting+"resticEnvSecret"] = "storages-sftp"
	})
	servers.folders["sftp"] = folder
}

// rest has its repositories on restic's own server, with a certificate of a private authority.
func (servers *storageServers) rest() {
	servers.t.Helper()
	dir := servers.t.TempDir()
	ctx, cancel := context.WithTimeout(servers.t.Context(), 10*time.Minute)
	defer cancel()
	cache, err := part.Find(ctx)
	if err != nil {
		servers.t.Fatal(err)
	}
	program, err := cache.Binary("rest-server")
	if err != nil {
		if err := cache.Build(ctx, os.Stdout, "rest-server"); err != nil {
			servers.t.Fatal(err)
		}
		if program, err = cache.Binary("rest-server"); err != nil {
			servers.t.Fatal(err)
		}
	}
	authority, err := pki.NewAuthority("storages")
	if err != nil {
		servers.t.Fatal(err)
	}
	pair, err := authority.Server("rest", nil, []net.IP{net.ParseIP(servers.host)})
	if err != nil {
		servers.t.Fatal(err)
	}
	if err := pair.Write(filepath.Join(dir, "rest")); err != nil {
		servers.t.Fatal(err)
	}
	address, folder := servers.freeAddress(), filepath.Join(dir, "srv")
	servers.start(address, program, "--listen", address, "--path", folder, "--no-auth", "--tls",
		"--tls-cert", filepath.Join(dir, "rest.crt"), "--tls-key", filepath.Join(dir, "rest.key"))
	servers.location("rest", func(location *velerov1.BackupStorageLocation) {
		location.Annotations[contract.AnnotationSetting+"resticRepoPrefix"] = "rest:https://" + address
		location.Spec.ObjectStorage.CACert = authority.PEM
	})
	servers.folders["rest"] = folder
}

// remove takes the locations away again. The backups in them go from the cluster with them.
func (servers *storageServers) remove() {
	for location := range servers.folders {
		for _, object := range []string{"backupstoragelocations.velero.io/" + location, "secret/storages-" + location} {
			if _, err := tryKubectl(servers.t, "-n", velero.Namespace, "delete", object, "--ignore-not-found"); err != nil {
				servers.t.Error("cleaning up:", err)
			}
		}
	}
}

func (servers *storageServers) command(program string, args ...string) string {
	servers.t.Helper()
	ctx, cancel := context.WithTimeout(servers.t.Context(), commandLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, args...).Output()
	if err != nil {
		servers.t.Fatalf("%s %v: %v: %s", program, args, err, out)
	}
	return string(out)
}

func (servers *storageServers) freeAddress() string {
	servers.t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(servers.host, "0"))
	if err != nil {
		servers.t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// start runs a server until the test has ended, and waits until it listens.
func (servers *storageServers) start(address, program string, args ...string) {
	servers.t.Helper()
	server := exec.CommandContext(context.WithoutCancel(servers.t.Context()), program, args...)
	server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := server.Start(); err != nil {
		servers.t.Fatal(err)
	}
	servers.t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	eventually(servers.t, time.Minute, program+" listens", func() error {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

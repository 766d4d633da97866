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

// storageServers are the storage locations of TestStorageLocations besides the default one. Velero's part of their
// backups is in one bucket, and each has another place for its repositories.
type storageServers struct {
	t *testing.T
	// host is the address of this machine for pods.
	host string
	// folders has the directory of the repositories of each location, by the name of the location.
	folders map[string]string
}

// TestStorageLocations uses four storage locations: the default one; one in another bucket, with a prefix and a
// credential of its own; one with its repositories on an SFTP server; and one on restic's REST server, with TLS and a
// private certificate authority. It backs up the same volume to each, and restores it from the two that are not S3.
func TestStorageLocations(t *testing.T) {
	needsNode(t)
	shareCluster(t)
	ns := newNamespace(t, "storages", 0)
	endpoint, err := neturl.Parse(clusterOf(t).store.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	s := &storageServers{t: t, host: endpoint.Hostname(), folders: map[string]string{}}
	bucket := s.bucket()
	s.second(bucket)
	s.sftp()
	s.rest()
	t.Cleanup(func() { s.remove() })

	apply(t, ns.pod("app", "data", emptyDir("data")))
	ns.waitReady("app")
	ns.shell("app", "echo default >/data/file")
	wantCompleted(t, backUp(t, "storages-default", "--include-namespaces", ns.name))
	wantBackedUp(t, "storages-default", "app/data")
	for location := range s.folders {
		ns.shell("app", "echo "+location+" >/data/file")
		name := "storages-" + location
		wantCompleted(t, backUp(t, name, "--include-namespaces", ns.name, "--storage-location", location))
		taken := wantBackedUp(t, name, "app/data")["app/data"]
		if taken.Spec.BackupStorageLocation != location || taken.Status.SnapshotID == "" {
			t.Errorf("location %s: the PodVolumeBackup is %+v, want a snapshot in this location", location, taken)
		}
		snapshot := filepath.Join(s.folders[location], ns.name, "snapshots", taken.Status.SnapshotID)
		if _, err := os.Stat(snapshot); err != nil {
			t.Errorf("location %s: its repository does not have the snapshot: %v", location, err)
		}
	}
	for _, location := range []string{"sftp", "rest"} {
		ns.delete()
		wantRestored(t, restore(t, "storages-"+location, "storages-"+location))
		ns.waitReady("app")
		if got := strings.TrimSpace(ns.shell("app", "cat /data/file")); got != location {
			t.Errorf("the restore from location %s brought back %q, want %q", location, got, location)
		}
	}
}

// bucket creates a second bucket in the gateway, and returns its directory.
func (s *storageServers) bucket() string {
	s.t.Helper()
	folder := filepath.Join(filepath.Dir(clusterOf(s.t).store.Folder), "storages")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		s.t.Fatal(err)
	}
	return folder
}

// location creates a BackupStorageLocation in the second bucket, and waits until it is available.
func (s *storageServers) location(name string, change func(*velerov1.BackupStorageLocation)) {
	s.t.Helper()
	store := clusterOf(s.t).store
	location := &velerov1.BackupStorageLocation{
		TypeMeta: typeMeta("velero.io/v1", "BackupStorageLocation"),
		ObjectMeta: metav1.ObjectMeta{
			Namespace: velero.Namespace, Name: name, Annotations: map[string]string{},
		},
		Spec: velerov1.BackupStorageLocationSpec{
			Provider: "velero.io/aws",
			Config: map[string]string{
				"region": store.Region, "s3Url": store.Endpoint, "s3ForcePathStyle": "true",
			},
			StorageType: velerov1.StorageType{
				ObjectStorage: &velerov1.ObjectStorageLocation{Bucket: "storages", Prefix: name},
			},
		},
	}
	change(location)
	apply(s.t, location)
	eventually(s.t, 90*time.Second, "location "+name+" available", func() error {
		got, err := tryGet[velerov1.BackupStorageLocation](s.t, velero.Namespace, name)
		if err != nil || got.Status.Phase == velerov1.BackupStorageLocationPhaseAvailable {
			return err
		}
		return fmt.Errorf("its phase is %q: %s", got.Status.Phase, got.Status.Message)
	})
}

func (s *storageServers) secret(name string, keys map[string]string) {
	s.t.Helper()
	apply(s.t, &corev1.Secret{
		TypeMeta:   typeMeta("v1", "Secret"),
		ObjectMeta: metav1.ObjectMeta{Namespace: velero.Namespace, Name: name}, StringData: keys,
	})
}

// second creates a location with its repositories in the second bucket, and with a credential of its own.
func (s *storageServers) second(bucket string) {
	s.t.Helper()
	credential, err := os.ReadFile(clusterOf(s.t).store.Credentials)
	if err != nil {
		s.t.Fatal(err)
	}
	profile := strings.Replace(string(credential), "[default]", "[mine]", 1)
	s.secret("storages-credential", map[string]string{"cloud": profile})
	s.location("second", func(location *velerov1.BackupStorageLocation) {
		location.Spec.Config["profile"] = "mine"
		location.Spec.Credential = &corev1.SecretKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: "storages-credential"}, Key: "cloud",
		}
	})
	s.folders["second"] = filepath.Join(bucket, "second", "restic")
}

// sftp creates a location with its repositories on an SSH server of this machine.
func (s *storageServers) sftp() {
	s.t.Helper()
	dir := s.t.TempDir()
	for _, name := range []string{"host", "user"} {
		s.command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, name))
	}
	address := s.freeAddress()
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
		s.t.Fatal(err)
	}
	s.start(address, "/usr/sbin/sshd", "-D", "-e", "-f", config)
	private, err := os.ReadFile(filepath.Join(dir, "user"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.secret("storages-sftp", map[string]string{
		"ssh-privatekey": string(private), "known_hosts": s.command("ssh-keyscan", "-p", port, s.host),
	})
	s.location("sftp", func(location *velerov1.BackupStorageLocation) {
		// In spec.config, Velero's plugin for AWS would reject them.
		location.Annotations[contract.AnnotationSetting+"resticRepoPrefix"] = "sftp://root@" + address + "/" + folder
		location.Annotations[contract.AnnotationSetting+"resticEnvSecret"] = "storages-sftp"
	})
	s.folders["sftp"] = folder
}

// rest creates a location with its repositories on restic's REST server, with a certificate of a private authority.
func (s *storageServers) rest() {
	s.t.Helper()
	dir := s.t.TempDir()
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Minute)
	defer cancel()
	cache, err := part.Find(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	program, err := cache.Binary("rest-server")
	if err != nil {
		if err := cache.Build(ctx, os.Stdout, "rest-server"); err != nil {
			s.t.Fatal(err)
		}
		if program, err = cache.Binary("rest-server"); err != nil {
			s.t.Fatal(err)
		}
	}
	authority, err := pki.NewAuthority("storages")
	if err != nil {
		s.t.Fatal(err)
	}
	pair, err := authority.Server("rest", nil, []net.IP{net.ParseIP(s.host)})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := pair.Write(filepath.Join(dir, "rest")); err != nil {
		s.t.Fatal(err)
	}
	address, folder := s.freeAddress(), filepath.Join(dir, "srv")
	s.start(address, program, "--listen", address, "--path", folder, "--no-auth", "--tls",
		"--tls-cert", filepath.Join(dir, "rest.crt"), "--tls-key", filepath.Join(dir, "rest.key"))
	s.location("rest", func(location *velerov1.BackupStorageLocation) {
		location.Annotations[contract.AnnotationSetting+"resticRepoPrefix"] = "rest:https://" + address
		location.Spec.ObjectStorage.CACert = authority.PEM
	})
	s.folders["rest"] = folder
}

// remove deletes the locations. Velero then removes their backups from the cluster.
func (s *storageServers) remove() {
	for location := range s.folders {
		for _, object := range []string{"backupstoragelocations.velero.io/" + location, "secret/storages-" + location} {
			if _, err := tryKubectl(s.t, "-n", velero.Namespace, "delete", object, "--ignore-not-found"); err != nil {
				s.t.Error("cleaning up:", err)
			}
		}
	}
}

func (s *storageServers) command(program string, args ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), commandLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, args...).Output()
	if err != nil {
		s.t.Fatalf("%s %v: %v: %s", program, args, err, out)
	}
	return string(out)
}

func (s *storageServers) freeAddress() string {
	s.t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(s.host, "0"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// start starts a server, and waits until it listens. The server is killed when the test ends.
func (s *storageServers) start(address, program string, args ...string) {
	s.t.Helper()
	server := exec.CommandContext(context.WithoutCancel(s.t.Context()), program, args...)
	server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := server.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	eventually(s.t, time.Minute, program+" listens", func() error {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

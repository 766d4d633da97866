// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package session_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/velero-restic/velero-plugin-for-restic/agent/session"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic/restictest"
)

const (
	password   = "correct horse"
	credential = "[default]\naws_access_key_id = AKIASECRETID\naws_secret_access_key = very-secret-key\n"
	authority  = "-----BEGIN CERTIFICATE-----\nauthority\n-----END CERTIFICATE-----\n"
)

// cluster has a storage location with all that it can have, and the Secrets for it.
type cluster struct {
	location    *velerov1.BackupStorageLocation
	passwords   *corev1.Secret
	credentials *corev1.Secret
	extra       *corev1.Secret
	// opener is what opens it.
	opener *session.Opener
	runner *restictest.Runner
	// refuse, if set, is what reading a Secret ends with.
	refuse error
}

func secret(name string, data map[string]string) *corev1.Secret {
	object := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "velero", Name: name}, Data: map[string][]byte{},
	}
	for key, value := range data {
		object.Data[key] = []byte(value)
	}
	return object
}

func selector(name, key string) *corev1.SecretKeySelector {
	return &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: name}, Key: key}
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{
		passwords: secret(contract.PasswordSecret, map[string]string{contract.PasswordSecretKey: password}),
		credentials: secret("cloud", map[string]string{
			"cloud": credential, "empty": "", "ca": authority,
		}),
		extra:  secret("velero-restic-env", map[string]string{"RCLONE_BWLIMIT": "secret-limit"}),
		runner: &restictest.Runner{},
	}
	c.location = &velerov1.BackupStorageLocation{
		ObjectMeta: metav1.ObjectMeta{Namespace: "velero", Name: "default"},
		Spec: velerov1.BackupStorageLocationSpec{
			Provider: "aws", Config: map[string]string{"region": "eu-1", "s3Url": "https://s3.example.com"},
			StorageType: velerov1.StorageType{ObjectStorage: &velerov1.ObjectStorageLocation{
				Bucket: "bucket", CACertRef: selector("cloud", "ca"),
			}},
			Credential: selector("cloud", "cloud"),
		},
	}
	c.opener = &session.Opener{
		Namespace: "velero", Runner: c.runner, ScratchDir: filepath.Join(t.TempDir(), "scratch"),
		DefaultCredentialFile: filepath.Join(t.TempDir(), "no-credential"), ExtraEnv: "velero-restic-env",
		RetryLock: time.Minute,
		ProcessEnv: map[string]string{
			"HOME": "/root", "TMPDIR": "/elsewhere", "HTTPS_PROXY": "http://proxy", "FOREIGN": "x",
		},
	}
	return c
}

// open opens the repository in the cluster as it is now.
func (c *cluster) open(t *testing.T) (*session.Session, error) {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), velerov1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	builder := fake.NewClientBuilder().WithScheme(scheme)
	if c.location != nil {
		builder.WithObjects(c.location)
	}
	for _, object := range []*corev1.Secret{c.passwords, c.credentials, c.extra} {
		if object != nil {
			builder.WithObjects(object)
		}
	}
	c.opener.Reader = builder.WithInterceptorFuncs(interceptor.Funcs{Get: func(
		ctx context.Context, reader client.WithWatch, key client.ObjectKey, object client.Object, options ...client.GetOption,
	) error {
		if _, ok := object.(*corev1.Secret); ok && c.refuse != nil {
			return c.refuse
		}
		return reader.Get(ctx, key, object, options...)
	}}).Build()
	return c.opener.Open(t.Context(), "default", "shop")
}

// files returns the private files by name.
func (c *cluster) files(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(filepath.Join(c.opener.ScratchDir, "session"),
		func(path string, entry fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			info, err := entry.Info()
			if err != nil {
				return err
			}
			if info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s has mode %s: others can see it", path, info.Mode())
			}
			if entry.IsDir() {
				return nil
			}
			content, err := os.ReadFile(path)
			found[entry.Name()] = string(content)
			return err
		})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// command has restic be called, and returns how: its arguments and its environment, of which the last of a name counts.
func (c *cluster) command(t *testing.T, opened *session.Session) (arguments string, environment map[string]string) {
	t.Helper()
	_, _ = opened.CatConfig(t.Context()) // the scripted restic says nothing, which is an error
	commands := c.runner.Commands()
	last := commands[len(commands)-1]
	environment = map[string]string{}
	for _, entry := range last.Env {
		name, value, _ := strings.Cut(entry, "=")
		environment[name] = value
	}
	return strings.Join(last.Args, " "), environment
}

func TestOpen(t *testing.T) {
	c := newCluster(t)
	opened, err := c.open(t)
	if err != nil {
		t.Fatal(err)
	}
	if opened.URL != "s3:https://s3.example.com/bucket/restic/shop" || opened.ReadOnly ||
		opened.Password.Secret != contract.PasswordSecret || opened.Password.WellKnown {
		t.Errorf("opened %q, read-only %t, with the password of %s", opened.URL, opened.ReadOnly, opened.Password.Secret)
	}
	files := c.files(t)
	if files["password"] != password || files["authorities.pem"] != authority {
		t.Errorf("the files are %v", files)
	}
	arguments, environment := c.command(t, opened)
	for _, private := range []string{password, "AKIASECRETID", "very-secret-key", "secret-limit"} {
		if strings.Contains(arguments, private) {
			t.Errorf("everybody on the node can see %q in %s", private, arguments)
		}
	}
	if !strings.HasSuffix(environment["RESTIC_CACERT"], "/authorities.pem") {
		t.Errorf("restic does not know of the authorities: %v", environment)
	}
	for _, name := range []string{"HOME", "TMPDIR"} {
		if !strings.HasPrefix(environment[name], filepath.Join(c.opener.ScratchDir, "session")+"/") {
			t.Errorf("%s is %s, which does not go with the session", name, environment[name])
		}
	}
	if environment["RCLONE_BWLIMIT"] != "secret-limit" || environment["HTTPS_PROXY"] != "http://proxy" ||
		environment["FOREIGN"] != "" {
		t.Errorf("the environment is %v", environment)
	}
	second, err := c.open(t)
	if err != nil {
		t.Fatal(err)
	}
	if err := opened.Close(); err != nil {
		t.Fatal(err)
	}
	if got := c.files(t); got["password"] != password {
		t.Errorf("closing one session has taken the other's files: %v", got)
	}
	if err := errors.Join(second.Close(), second.Close()); err != nil {
		t.Error(err)
	}
	if got := c.files(t); len(got) != 0 {
		t.Errorf("files are left: %v", got)
	}
}

func TestOpenVariants(t *testing.T) {
	cases := map[string]struct {
		change func(t *testing.T, c *cluster)
		check  func(t *testing.T, c *cluster, opened *session.Session)
	}{
		"certificates in the location itself": {
			func(_ *testing.T, c *cluster) {
				c.location.Spec.ObjectStorage.CACertRef, c.location.Spec.ObjectStorage.CACert = nil, []byte("inline")
			},
			func(t *testing.T, c *cluster, _ *session.Session) {
				if got := c.files(t)["authorities.pem"]; got != "inline" {
					t.Errorf("the authorities are %q", got)
				}
			},
		},
		"no certificates": {
			func(_ *testing.T, c *cluster) { c.location.Spec.ObjectStorage.CACertRef = nil },
			func(t *testing.T, c *cluster, opened *session.Session) {
				if _, environment := c.command(t, opened); environment["RESTIC_CACERT"] != "" {
					t.Errorf("restic is told of authorities: %v", environment)
				}
			},
		},
		"a location that may only be read": {
			func(_ *testing.T, c *cluster) {
				c.location.Spec.AccessMode = velerov1.BackupStorageLocationAccessModeReadOnly
			},
			func(t *testing.T, _ *cluster, opened *session.Session) {
				if err := opened.Init(t.Context()); !opened.ReadOnly || !errors.Is(err, restic.ErrReadOnly) {
					t.Errorf("read-only %t, and making a repository gives %v", opened.ReadOnly, err)
				}
			},
		},
		"the default credential": {
			func(t *testing.T, c *cluster) {
				c.location.Spec.Credential = nil
				if err := os.WriteFile(c.opener.DefaultCredentialFile, []byte(credential), 0o600); err != nil {
					t.Fatal(err)
				}
			},
			func(t *testing.T, c *cluster, opened *session.Session) {
				if _, environment := c.command(t, opened); !mentions(t, c, environment, "very-secret-key") {
					t.Error("restic does not get it")
				}
			},
		},
		"no credential at all, where the node has a role": {
			func(_ *testing.T, c *cluster) { c.location.Spec.Credential = nil },
			func(*testing.T, *cluster, *session.Session) {},
		},
		"no Secret with more variables": {
			func(_ *testing.T, c *cluster) { c.extra = nil },
			func(*testing.T, *cluster, *session.Session) {},
		},
		"the password of Velero": {
			func(_ *testing.T, c *cluster) {
				c.passwords = secret(contract.PasswordSecretLegacy,
					map[string]string{contract.PasswordSecretKey: "static-passw0rd"})
			},
			func(t *testing.T, _ *cluster, opened *session.Session) {
				if opened.Password.Secret != contract.PasswordSecretLegacy || !opened.Password.WellKnown {
					t.Errorf("the password is that of %s", opened.Password.Secret)
				}
			},
		},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			test.change(t, c)
			opened, err := c.open(t)
			if err != nil {
				t.Fatal(err)
			}
			test.check(t, c, opened)
			if err := opened.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// mentions says whether restic is given the text, by its environment or by a private file.
func mentions(t *testing.T, c *cluster, environment map[string]string, text string) bool {
	t.Helper()
	for _, value := range environment {
		if strings.Contains(value, text) {
			return true
		}
	}
	for _, content := range c.files(t) {
		if strings.Contains(content, text) {
			return true
		}
	}
	return false
}

func TestOpenIsRefused(t *testing.T) {
	cases := map[string]struct {
		change func(c *cluster)
		// want are parts of the message.
		want []string
	}{
		"no location": {
			func(c *cluster) { c.location = nil },
			[]string{"BackupStorageLocation velero/default does not exist", "velero backup-location create default"},
		},
		"no password": {
			func(c *cluster) { c.passwords = nil },
			[]string{"kubectl -n velero create secret generic velero-restic-credentials", "repository-password"},
		},
		"a Secret without a password": {
			func(c *cluster) { c.passwords.Data = map[string][]byte{"password": []byte(password)} },
			[]string{"velero/velero-restic-credentials", `"repository-password"`},
		},
		"no Secret with the credential": {
			func(c *cluster) { c.credentials = nil; c.location.Spec.ObjectStorage.CACertRef = nil },
			[]string{"BackupStorageLocation default", "spec.credential", "there is no Secret cloud in namespace velero"},
		},
		"no such key for the credential": {
			func(c *cluster) { c.location.Spec.Credential.Key = "other" },
			[]string{"BackupStorageLocation default", "spec.credential", "velero/cloud", `"other"`},
		},
		"nothing under the key for the credential": {
			func(c *cluster) { c.location.Spec.Credential.Key = "empty" },
			[]string{"spec.credential", "velero/cloud", `"empty"`},
		},
		"no such key for the authorities": {
			func(c *cluster) { c.location.Spec.ObjectStorage.CACertRef.Key = "other" },
			[]string{"BackupStorageLocation default", "spec.objectStorage.caCertRef", "velero/cloud", `"other"`},
		},
		"no Secret with the authorities": {
			func(c *cluster) { c.location.Spec.ObjectStorage.CACertRef.Name = "gone" },
			[]string{"spec.objectStorage.caCertRef", "there is no Secret gone"},
		},
		"a provider that restic does not know": {
			func(c *cluster) {
				c.location.Spec.Provider = "example.com/tape"
				delete(c.location.Spec.Config, "s3Url")
			},
			[]string{"default", "example.com/tape", "resticRepoPrefix"},
		},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			test.change(c)
			_, err := c.open(t)
			var notUsable *session.NotUsableError
			if !errors.As(err, &notUsable) {
				t.Fatalf("got %v, want a NotUsableError", err)
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
			for _, private := range []string{password, "AKIASECRETID", "very-secret-key", "secret-limit"} {
				if strings.Contains(err.Error(), private) {
					t.Errorf("%q tells %q", err, private)
				}
			}
			if got := c.files(t); len(got) != 0 {
				t.Errorf("files are left: %v", got)
			}
		})
	}
}

func TestOpenErrors(t *testing.T) {
	broken := errors.New("etcd is gone")
	cases := map[string]func(t *testing.T, c *cluster) (want string){
		"the API server does not answer": func(_ *testing.T, c *cluster) string {
			c.refuse = broken
			return broken.Error()
		},
		"there is a file in place of the scratch folder": func(t *testing.T, c *cluster) string {
			if err := os.WriteFile(c.opener.ScratchDir, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			return c.opener.ScratchDir
		},
		"the default credential is a folder": func(_ *testing.T, c *cluster) string {
			c.location.Spec.Credential = nil
			c.opener.DefaultCredentialFile = filepath.Dir(c.opener.DefaultCredentialFile)
			return "reading the default credential"
		},
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			want := change(t, c)
			_, err := c.open(t)
			var notUsable *session.NotUsableError
			if err == nil || errors.As(err, &notUsable) || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want an error with %q that may pass by itself", err, want)
			}
		})
	}
}

func TestSweep(t *testing.T) {
	c := newCluster(t)
	if _, err := c.open(t); err != nil {
		t.Fatal(err)
	}
	cached := filepath.Join(c.opener.ScratchDir, "cache", "kept")
	if err := os.MkdirAll(cached, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(session.Sweep(c.opener.ScratchDir), session.Sweep(c.opener.ScratchDir)); err != nil {
		t.Fatal(err)
	}
	if got := c.files(t); len(got) != 0 {
		t.Errorf("files of a killed process are left: %v", got)
	}
	if _, err := os.Stat(cached); err != nil {
		t.Errorf("restic's cache is gone: %v", err)
	}
}

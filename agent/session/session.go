// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package session opens a restic repository for one piece of work: it reads the storage location and its Secrets as
// they are at that moment, writes what restic needs of them into a private folder, and removes the folder afterwards.
// Nothing secret is shared by two runs or outlives one.
package session

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/repository"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
)

// NotUsableError says that a repository cannot be reached for a reason that somebody must mend: the message names the
// object and the remedy. Trying again without that is of no use.
type NotUsableError struct {
	// Message is for people.
	Message string
}

// Error implements error.
func (e *NotUsableError) Error() string { return e.Message }

// Opener opens repositories.
type Opener struct {
	// Reader reads storage locations and Secrets, uncached: the agent must not hold the cluster's Secrets in memory.
	Reader client.Reader
	// Namespace is Velero's.
	Namespace string
	// Runner runs restic.
	Runner restic.Runner
	// ScratchDir holds the private folders and restic's cache.
	ScratchDir string
	// DefaultCredentialFile is the credential of storage locations that name none; it may be missing.
	DefaultCredentialFile string
	// ProcessEnv is this process's environment, of which an allow-list is passed on.
	ProcessEnv map[string]string
	// ExtraEnv is the name of a Secret with what restic's backends need besides, for all locations; it may be missing.
	// A Secret that a location names itself comes on top of it. See repository.Input.
	ExtraEnv string
	// Program is the path of the agent itself, which restic starts with SFTPSubcommand in place of ssh.
	Program string
	// ExtraPaths are further files and folders that restic can read in its sandbox; those that do not exist are
	// skipped.
	ExtraPaths []string
	// ClosedPaths are folders that no environment variable makes readable in a sandbox: those with other pods' volumes.
	ClosedPaths []string
	// MountInfo is the path of this process's table of mounts, by which a folder with repositories is told from one
	// where nothing is mounted; empty for not looking.
	MountInfo string
	// RetryLock is how long restic waits for a lock.
	RetryLock time.Duration
}

// SFTPSubcommand is the subcommand of the agent that connects its streams with an SFTP server. Its flags are host,
// port, user, identity, known-hosts and errors-to.
const SFTPSubcommand = "sftp"

// Session is one opened repository. Close must be called when it is no longer used.
type Session struct {
	*restic.Client

	// URL is the repository as restic names it, without a password.
	URL string
	// Password says where the password is from.
	Password repository.Password
	// ReadOnly is true where the storage location may only be read.
	ReadOnly bool

	dir    string
	folder folder
}

// Close removes the private folder.
func (s *Session) Close() error {
	if err := os.RemoveAll(s.dir); err != nil {
		return fmt.Errorf("removing the session's private files: %w", err)
	}
	return nil
}

// Open opens the repository of a namespace in a storage location. It does not call restic. It returns a
// *NotUsableError if the location, a Secret or the password is missing or wrong.
func (o *Opener) Open(ctx context.Context, location, volumeNamespace string) (*Session, error) {
	bsl := &velerov1.BackupStorageLocation{}
	err := o.Reader.Get(ctx, client.ObjectKey{Namespace: o.Namespace, Name: location}, bsl)
	if apierrors.IsNotFound(err) {
		return nil, &NotUsableError{fmt.Sprintf("BackupStorageLocation %s/%s does not exist: create it again with "+
			"`velero backup-location create %s`, or delete the objects that name it", o.Namespace, location, location)}
	}
	if err != nil {
		return nil, fmt.Errorf("reading BackupStorageLocation %s: %w", location, err)
	}
	password, err := o.password(ctx)
	if err != nil {
		return nil, err
	}
	access, err := o.resolve(ctx, bsl, volumeNamespace, password)
	if err != nil {
		return nil, err
	}
	var found folder
	if access.Folder != "" && o.MountInfo != "" {
		if found, err = findFolder(o.MountInfo, access.Folder); err != nil {
			return nil, err
		}
	}
	session, err := o.prepare(access, contract.RepositoryName(volumeNamespace, location))
	if err != nil {
		return nil, err
	}
	session.folder = found
	session.Password = password
	return session, nil
}

func (o *Opener) resolve(
	ctx context.Context, bsl *velerov1.BackupStorageLocation, volumeNamespace string, password repository.Password,
) (repository.Access, error) {
	credential, err := o.credential(ctx, bsl)
	if err != nil {
		return repository.Access{}, err
	}
	authorities, err := o.authorities(ctx, bsl)
	if err != nil {
		return repository.Access{}, err
	}
	extra, err := o.extra(ctx, bsl)
	if err != nil {
		return repository.Access{}, err
	}
	access, err := repository.Resolve(repository.Input{
		Location: bsl, VolumeNamespace: volumeNamespace, Credential: credential, CACert: authorities,
		Password: password.Value, ProcessEnv: o.ProcessEnv, Extra: extra,
	})
	if err != nil {
		return repository.Access{}, &NotUsableError{err.Error()}
	}
	return access, nil
}

func (o *Opener) password(ctx context.Context) (repository.Password, error) {
	secret, err := o.secret(ctx, contract.PasswordSecret)
	if err != nil {
		return repository.Password{}, err
	}
	legacy, err := o.secret(ctx, contract.PasswordSecretLegacy)
	if err != nil {
		return repository.Password{}, err
	}
	password, err := repository.PickPassword(o.Namespace, secret, legacy)
	if err != nil {
		return repository.Password{}, &NotUsableError{err.Error()}
	}
	return password, nil
}

// credential returns the content of the location's own credential, or of the default one, or nil where neither is
// there: a role of the node or of the pod may serve instead.
func (o *Opener) credential(ctx context.Context, bsl *velerov1.BackupStorageLocation) ([]byte, error) {
	if selector := bsl.Spec.Credential; selector != nil {
		return o.secretKey(ctx, bsl, "spec.credential", selector)
	}
	content, err := os.ReadFile(o.DefaultCredentialFile)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the default credential: %w", err)
	}
	return content, nil
}

func (o *Opener) authorities(ctx context.Context, bsl *velerov1.BackupStorageLocation) ([]byte, error) {
	storage := bsl.Spec.ObjectStorage
	if storage == nil {
		return nil, nil
	}
	if storage.CACertRef != nil {
		return o.secretKey(ctx, bsl, "spec.objectStorage.caCertRef", storage.CACertRef)
	}
	return storage.CACert, nil
}

func (o *Opener) secretKey(
	ctx context.Context, bsl *velerov1.BackupStorageLocation, field string, selector *corev1.SecretKeySelector,
) ([]byte, error) {
	secret, err := o.secret(ctx, selector.Name)
	if err != nil {
		return nil, err
	}
	if secret == nil {
		return nil, &NotUsableError{fmt.Sprintf("BackupStorageLocation %s, %s: there is no Secret %s in namespace %s",
			bsl.Name, field, selector.Name, o.Namespace)}
	}
	content, found := secret.Data[selector.Key]
	if !found || len(content) == 0 {
		return nil, &NotUsableError{fmt.Sprintf("BackupStorageLocation %s, %s: Secret %s/%s has nothing under the "+
			"key %q", bsl.Name, field, o.Namespace, selector.Name, selector.Key)}
	}
	return content, nil
}

// extra returns the keys of the Secret for all locations, and over them those of the one that the location names.
func (o *Opener) extra(ctx context.Context, bsl *velerov1.BackupStorageLocation) (map[string][]byte, error) {
	extra := map[string][]byte{}
	if o.ExtraEnv != "" {
		secret, err := o.secret(ctx, o.ExtraEnv)
		if err != nil {
			return nil, err
		}
		if secret != nil {
			maps.Copy(extra, secret.Data)
		}
	}
	name := repository.EnvSecret(bsl)
	if name == "" {
		return extra, nil
	}
	secret, err := o.secret(ctx, name)
	if err != nil {
		return nil, err
	}
	if secret == nil {
		return nil, &NotUsableError{fmt.Sprintf("BackupStorageLocation %s, %s: there is no Secret %s in namespace %s",
			bsl.Name, repository.SettingEnvSecret, name, o.Namespace)}
	}
	maps.Copy(extra, secret.Data)
	return extra, nil
}

// Storage locations name Secrets of any name in this namespace, so the right cannot be limited to names.
//
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get,namespace=velero

// secret returns nil if there is no such Secret.
func (o *Opener) secret(ctx context.Context, name string) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	err := o.Reader.Get(ctx, client.ObjectKey{Namespace: o.Namespace, Name: name}, secret)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading Secret %s/%s: %w", o.Namespace, name, err)
	}
	return secret, nil
}

// prepare writes the access into a private folder.
func (o *Opener) prepare(access repository.Access, cacheName string) (session *Session, err error) {
	root := filepath.Join(o.ScratchDir, "session")
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder for sessions: %w", err)
	}
	dir, err := os.MkdirTemp(root, "")
	if err != nil {
		return nil, fmt.Errorf("making a private folder: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(dir)
		}
	}()
	target := restic.Repository{
		URL: access.URL, ReadOnly: access.ReadOnly, InsecureTLS: access.InsecureTLS, Options: access.Options,
		RetryLock:    o.RetryLock,
		CacheDir:     filepath.Join(o.ScratchDir, "cache", cacheName),
		PasswordFile: filepath.Join(dir, "password"),
	}
	if err := os.MkdirAll(target.CacheDir, 0o700); err != nil {
		return nil, fmt.Errorf("making the cache folder: %w", err)
	}
	files := map[string][]byte{"password": access.Password}
	if len(access.CACert) > 0 {
		target.CACertFile = filepath.Join(dir, "authorities.pem")
		files["authorities.pem"] = access.CACert
	}
	for name, content := range access.Files {
		files[filepath.Join(filesDir, filepath.Base(name))] = content
	}
	if err := os.Mkdir(filepath.Join(dir, filesDir), 0o700); err != nil {
		return nil, fmt.Errorf("making a private folder: %w", err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return nil, fmt.Errorf("writing a private file: %w", err)
		}
	}
	target.Env = environment(access, dir)
	target.Paths = o.paths(access, target, dir)
	if access.SFTP != nil {
		target.TransportErrors = filepath.Join(dir, "transport-errors")
		target.Options = append(slices.Clone(target.Options),
			o.sftpOption(*access.SFTP, filepath.Join(dir, filesDir), target.TransportErrors))
	}
	return &Session{
		Client: restic.NewClient(o.Runner, target), ReadOnly: access.ReadOnly,
		URL: repository.Identifier(access.URL), dir: dir,
	}, nil
}

// filesDir is the folder of the private folder that holds an access's files.
const filesDir = "files"

// sftpOption has restic start the agent in place of ssh. restic splits the command at white space outside of quotes,
// and knows no way to write a quote within them (restic v0.19.1, internal/backend/shell_split.go).
func (o *Opener) sftpOption(server repository.SFTPServer, files, errorsTo string) string {
	arguments := []string{
		o.Program, SFTPSubcommand, "--host=" + server.Host, "--port=" + server.Port, "--user=" + server.User,
		"--identity=" + filepath.Join(files, repository.KeySSHPrivateKey),
		"--known-hosts=" + filepath.Join(files, repository.KeyKnownHosts),
		"--errors-to=" + errorsTo,
	}
	for i, argument := range arguments {
		arguments[i] = `"` + argument + `"`
	}
	return "sftp.command=" + strings.Join(arguments, " ")
}

func environment(access repository.Access, dir string) []string {
	files := filepath.Join(dir, filesDir)
	var env []string
	for key, value := range access.Env {
		env = append(env, key+"="+strings.ReplaceAll(value, repository.FilesPlaceholder, files))
	}
	for key, name := range access.EnvFiles {
		env = append(env, key+"="+filepath.Join(files, filepath.Base(name)))
	}
	// restic makes its temporary files beside the secrets, so that they go with them. The last of a name counts.
	return append(env, "TMPDIR="+dir, "HOME="+dir)
}

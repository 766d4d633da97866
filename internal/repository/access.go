// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package repository turns a backup storage location and its secrets into the URL of a restic repository and the
// environment in which restic opens it. It is pure: it reads no file, no environment and no API.
//
// URL and credentials are those of Velero <= 1.16 (release-1.16, pkg/repository/config and pkg/restic/common.go), so
// that the repositories which it made are found again. What restic v0.19.1 can do itself is left to it: session
// tokens of a role are renewed by restic, where Velero handed it a token that went stale in a long backup.
package repository

import (
	"fmt"
	"maps"
	"strconv"
	"strings"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
)

// Input is all that decides how a repository is reached.
type Input struct {
	Location *velerov1.BackupStorageLocation
	// VolumeNamespace is the namespace whose volumes the repository holds.
	VolumeNamespace string
	// Credential is the content of the location's spec.credential, or of Velero's default credential; nil if there
	// is none, as with identities that the platform gives to a pod.
	Credential []byte
	// CACert are certificates of authorities in PEM, from the location's caCert or caCertRef; optional.
	CACert []byte
	// Password opens the repository.
	Password []byte
	// ProcessEnv is the environment of this process. Of it, what is in an allow-list is passed on.
	ProcessEnv map[string]string
	// Extra is what the administrator gives restic besides, as the keys and values of Secrets. It wins. Keys that
	// are names of environment variables become those; others become files, which variables can point to: see extra.go.
	Extra map[string][]byte

	// extraEnv and extraFiles are the two kinds of Extra.
	extraEnv   map[string]string
	extraFiles map[string][]byte
}

// Access is how restic reaches a repository.
type Access struct {
	// URL is the repository as restic names it. It may hold a password: see Identifier.
	URL string
	// Env are environment variables by name. They may hold secrets.
	Env map[string]string
	// Files are the contents of files by name, to be written with mode 0600 into a directory that is for this
	// access alone and goes with it.
	Files map[string][]byte
	// EnvFiles are environment variables whose value is the path of one of Files: the variable's name to the file's.
	EnvFiles map[string]string
	// InsecureTLS leaves the server's certificate unchecked.
	InsecureTLS bool
	// ReadOnly says that the location must not be written to.
	ReadOnly bool
	// Options are restic's extended options, as key=value. They hold no secrets.
	Options []string
	// SFTP is the server to connect to; nil if the repository is reached in another way.
	SFTP *SFTPServer
	// Folder is the folder that holds the repositories of all namespaces, if they are in a file system that this
	// process sees; empty if they are not.
	Folder string
	// Password opens the repository.
	Password []byte
	// CACert are certificates of authorities in PEM; empty for none beside the system's.
	CACert []byte
}

// credentialFile is the name of the location's credential among the files of an Access.
const credentialFile = "credential"

// Resolve returns how the repository is reached. Its errors name the storage location, the field and the remedy, and
// hold no secret.
func Resolve(in Input) (Access, error) {
	if in.Location == nil {
		return Access{}, fmt.Errorf("resolving the repository of namespace %q: no storage location", in.VolumeNamespace)
	}
	if in.VolumeNamespace == "" {
		return Access{}, locationError(in.Location, "resolving a repository in it: the volumes' namespace is empty")
	}
	place, err := placeOf(in.Location)
	if err != nil {
		return Access{}, err
	}
	in.extraEnv, in.extraFiles = splitExtra(in.Extra)
	access := Access{
		URL:      place.prefix + "/" + in.VolumeNamespace,
		Env:      map[string]string{},
		Files:    map[string][]byte{},
		EnvFiles: map[string]string{},
		Folder:   place.folder,
		ReadOnly: in.Location.Spec.AccessMode == velerov1.BackupStorageLocationAccessModeReadOnly,
		Password: in.Password,
		CACert:   in.CACert,
	}
	if access.InsecureTLS, err = boolSetting(in.Location, "insecureSkipTLSVerify"); err != nil {
		return Access{}, err
	}
	passOn(access.Env, in.ProcessEnv, commonVariables())
	if err := place.backend.configure(in, &access); err != nil {
		return Access{}, err
	}
	maps.Copy(access.Files, in.extraFiles)
	maps.Copy(access.Env, in.extraEnv)
	for name := range in.extraEnv {
		delete(access.EnvFiles, name)
	}
	return access, nil
}

// Identifier returns the URL of a repository for people: without a password. It must be one of an Access: of a URL that
// does not parse, which Resolve refuses, nobody can say where the password is.
func Identifier(url string) string {
	start := strings.Index(url, "://")
	if start < 0 {
		return url
	}
	start += len("://")
	end := len(url)
	if slash := strings.IndexByte(url[start:], '/'); slash >= 0 {
		end = start + slash
	}
	at := strings.LastIndexByte(url[start:end], '@')
	if at < 0 {
		return url
	}
	user, _, hasPassword := strings.Cut(url[start:start+at], ":")
	if !hasPassword {
		return url
	}
	return url[:start] + user + ":***" + url[start+at:]
}

// boolSetting returns a switch in the location's spec.config, false if it is not set.
func boolSetting(location *velerov1.BackupStorageLocation, key string) (bool, error) {
	value := setting(location, key)
	if value == "" {
		return false, nil
	}
	on, err := strconv.ParseBool(value)
	if err != nil {
		return false, locationError(location, "spec.config.%s is %q: write \"true\" or \"false\"", key, value)
	}
	return on, nil
}

// locationError names the storage location.
func locationError(location *velerov1.BackupStorageLocation, format string, args ...any) error {
	return fmt.Errorf("BackupStorageLocation %q: %s", location.Name, fmt.Sprintf(format, args...))
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package repository

import (
	"net/url"
	"path"
	"strings"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
)

// The providers of Velero whose storage restic knows too.
const (
	providerAWS   = "velero.io/aws"
	providerAzure = "velero.io/azure"
	providerGCP   = "velero.io/gcp"
)

// backend is one of restic's ways to storage.
type backend struct {
	// schemes are how restic's URLs begin for it.
	schemes []string
	// configure adds what restic needs to reach the storage.
	configure func(in Input, access *Access) error
}

func backendS3() backend    { return backend{[]string{"s3:"}, configureS3} }
func backendAzure() backend { return backend{[]string{"azure:"}, configureAzure} }
func backendGCS() backend   { return backend{[]string{"gs:"}, configureGCS} }

func backendSFTP() backend   { return backend{[]string{"sftp:"}, configureSFTP} }
func backendRclone() backend { return backend{[]string{"rclone:"}, configureRclone} }
func backendREST() backend   { return backend{[]string{"rest:"}, configureREST} }

// backendOther is what needs nothing but its variables.
func backendOther() backend { return backend{[]string{"b2:", "swift:", localScheme}, configureOther} }

// localScheme may stand before a path, and must where that has a colon.
const localScheme = "local:"

// place is where a location's repositories are.
type place struct {
	// prefix is their URL without the slash and the namespace at its end.
	prefix string
	// folder is the path that it is, or "".
	folder  string
	backend backend
}

// placeOf returns where the repositories of a location are, as Velero <= 1.16 decided.
func placeOf(location *velerov1.BackupStorageLocation) (place, error) {
	if prefix := setting(location, SettingPrefix); prefix != "" {
		return placeOfPrefix(location, prefix)
	}
	provider := provider(location)
	if provider != providerAWS && provider != providerAzure && provider != providerGCP {
		return place{}, locationError(location, "restic knows no storage of provider %q: set "+
			"spec.config.resticRepoPrefix, or annotation restic.velero.io/resticRepoPrefix, to where its repositories "+
			"shall be, such as \"rest:https://backup.example.com:8000/velero\" or \"sftp:user@host:/srv/restic\"",
			location.Spec.Provider)
	}
	storage := location.Spec.ObjectStorage
	if storage == nil || strings.Trim(storage.Bucket, "/") == "" {
		return place{}, locationError(location, "spec.objectStorage.bucket is empty: name the bucket")
	}
	bucket, folder := strings.Trim(storage.Bucket, "/"), path.Join(strings.Trim(storage.Prefix, "/"), "restic")
	switch provider {
	case providerAzure:
		return place{prefix: "azure:" + bucket + ":/" + folder, backend: backendAzure()}, nil
	case providerGCP:
		return place{prefix: "gs:" + bucket + ":/" + folder, backend: backendGCS()}, nil
	}
	endpoint, err := s3Endpoint(location)
	if err != nil {
		return place{}, err
	}
	return place{prefix: "s3:" + endpoint + "/" + path.Join(bucket, folder), backend: backendS3()}, nil
}

// provider returns the location's provider by its full name. One that is not known and has an s3Url speaks S3.
func provider(location *velerov1.BackupStorageLocation) string {
	name := location.Spec.Provider
	if !strings.Contains(name, "/") {
		name = "velero.io/" + name
	}
	switch name {
	case providerAWS, providerAzure, providerGCP:
		return name
	}
	if setting(location, "s3Url") != "" {
		return providerAWS
	}
	return name
}

// placeOfPrefix is the place that the location names outright.
func placeOfPrefix(location *velerov1.BackupStorageLocation, prefix string) (place, error) {
	name := settingName(location, SettingPrefix)
	found := place{prefix: strings.TrimSuffix(prefix, "/")}
	scheme, _, _ := strings.Cut(prefix, ":")
	if strings.HasPrefix(prefix, "/") {
		found.prefix = localScheme + found.prefix
		scheme = strings.TrimSuffix(localScheme, ":")
	}
	for _, candidate := range []backend{
		backendS3(), backendAzure(), backendGCS(), backendSFTP(), backendRclone(), backendREST(), backendOther(),
	} {
		for _, known := range candidate.schemes {
			if scheme+":" == known {
				found.backend = candidate
			}
		}
	}
	if found.backend.configure == nil {
		// The value is not in the message: it may have a password, and nobody can say where.
		return place{}, locationError(location, "%s begins with nothing that restic knows: write an absolute path, or "+
			"one of s3:, azure:, gs:, b2:, swift:, rest:, sftp:, rclone: and the place", name)
	}
	if folder, ok := strings.CutPrefix(found.prefix, localScheme); ok {
		if !strings.HasPrefix(folder, "/") {
			return place{}, locationError(location, "%s is %q: write an absolute path", name, prefix)
		}
		// Without the scheme, as Velero <= 1.16 had it.
		found.prefix, found.folder = strings.TrimSuffix(prefix, "/"), path.Clean(folder)
	}
	if _, rest, ok := strings.Cut(prefix, ":"); ok && strings.Contains(rest, "://") {
		if _, err := url.Parse(rest); err != nil {
			return place{}, locationError(location, "%s is not a URL: special characters in a user or password are "+
				"written as %%XX; better keep both in the Secret of %s", name, SettingEnvSecret)
		}
	}
	return found, nil
}

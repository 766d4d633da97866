// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package repository

import (
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

// backendOther is every other one: B2, Swift, REST, SFTP, rclone, and paths.
func backendOther() backend { return backend{nil, configureOther} }

// place is where a location's repositories are.
type place struct {
	// prefix is their URL without the slash and the namespace at its end.
	prefix  string
	backend backend
}

// placeOf returns where the repositories of a location are, as Velero <= 1.16 decided.
func placeOf(location *velerov1.BackupStorageLocation) (place, error) {
	if prefix := setting(location, "resticRepoPrefix"); prefix != "" {
		return place{strings.TrimSuffix(prefix, "/"), backendOf(prefix)}, nil
	}
	provider := provider(location)
	if provider != providerAWS && provider != providerAzure && provider != providerGCP {
		return place{}, locationError(location, "restic knows no storage of provider %q: set "+
			"spec.config.resticRepoPrefix to where its repositories shall be, such as "+
			"\"rest:https://backup.example.com:8000/velero\" or \"sftp:user@host:/srv/restic\"", location.Spec.Provider)
	}
	storage := location.Spec.ObjectStorage
	if storage == nil || strings.Trim(storage.Bucket, "/") == "" {
		return place{}, locationError(location, "spec.objectStorage.bucket is empty: name the bucket")
	}
	bucket, folder := strings.Trim(storage.Bucket, "/"), path.Join(strings.Trim(storage.Prefix, "/"), "restic")
	switch provider {
	case providerAzure:
		return place{"azure:" + bucket + ":/" + folder, backendAzure()}, nil
	case providerGCP:
		return place{"gs:" + bucket + ":/" + folder, backendGCS()}, nil
	}
	endpoint, err := s3Endpoint(location)
	if err != nil {
		return place{}, err
	}
	return place{"s3:" + endpoint + "/" + path.Join(bucket, folder), backendS3()}, nil
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

// backendOf returns the backend of a URL.
func backendOf(url string) backend {
	for _, candidate := range []backend{backendS3(), backendAzure(), backendGCS()} {
		for _, scheme := range candidate.schemes {
			if strings.HasPrefix(url, scheme) {
				return candidate
			}
		}
	}
	return backendOther()
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package node

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/process"
)

// Store is an S3 bucket, which a gateway serves from a directory of this machine.
type Store struct {
	// Cluster is the name of the cluster whose gateway serves the bucket.
	Cluster string `json:"cluster"`
	// Endpoint is a URL that works on the machine and in the pods of every cluster.
	Endpoint string `json:"endpoint"`
	Region   string `json:"region"`
	Bucket   string `json:"bucket"`
	// Folder is the directory with the objects of the bucket as plain files.
	Folder string `json:"folder"`
	// Credentials is the path of a file in the AWS format (profile default) with the access key and the secret key.
	Credentials string `json:"credentials"`
}

const (
	gatewayPort   = 9000
	gatewayHealth = "/healthz"
)

// startGateway starts the S3 gateway on the machine's address in the cluster's network, with an empty bucket `velero`.
func (n *Node) startGateway(a addresses) (Store, error) {
	store := Store{
		Cluster: n.name, Endpoint: fmt.Sprintf("http://%s:%d", a.host(), gatewayPort),
		Region: "us-east-1", Bucket: "velero",
		Folder: n.path("s3", "velero"), Credentials: n.path("s3-credentials"),
	}
	if err := os.MkdirAll(store.Folder, 0o755); err != nil {
		return store, fmt.Errorf("creating the bucket: %w", err)
	}
	access, secret := n.name, rand.Text()
	profile := fmt.Sprintf("[default]\naws_access_key_id=%s\naws_secret_access_key=%s\n", access, secret)
	if err := os.WriteFile(store.Credentials, []byte(profile), 0o600); err != nil {
		return store, fmt.Errorf("writing the bucket's credentials: %w", err)
	}
	gateway, err := n.cache.Binary(gatewayProcess)
	if err != nil {
		return store, err
	}
	return store, n.Processes().Start(process.Command{
		Name: gatewayProcess, Path: gateway,
		Args: []string{
			"--port", fmt.Sprintf("%s:%d", a.host(), gatewayPort), "--region", store.Region,
			"--health", gatewayHealth, "--quiet", "posix", filepath.Dir(store.Folder),
		},
		Env: []string{searchPath, "ROOT_ACCESS_KEY=" + access, "ROOT_SECRET_KEY=" + secret},
	})
}

func (s Store) answers(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Endpoint+gatewayHealth, nil)
	if err != nil {
		return fmt.Errorf("requesting the state of the S3 gateway: %w", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("requesting the state of the S3 gateway: %w", err)
	}
	defer func() { _ = response.Body.Close() }() // only the status matters
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("requesting the state of the S3 gateway: it returned %s", response.Status)
	}
	return nil
}

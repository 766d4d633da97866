// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package existing checks a user's own cluster, which CLUSTER=existing and KUBECONFIG select instead of the test
// cluster.
package existing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/tools/clientcmd"
)

// Chosen returns whether the value of CLUSTER selects the user's own cluster.
//
// It fails for any other value than `existing` and the empty string.
func Chosen(cluster string) (bool, error) {
	switch cluster {
	case "":
		return false, nil
	case "existing":
		return true, nil
	}
	return false, fmt.Errorf("CLUSTER is %q: set it to existing to use the cluster of KUBECONFIG, or unset it", cluster)
}

// Check reads the version of the cluster of the kubeconfig and prints it to out. It changes nothing. It fails if the
// cluster does not respond.
func Check(ctx context.Context, kubeconfig string, out io.Writer) error {
	if kubeconfig == "" {
		return errors.New("CLUSTER is existing, but KUBECONFIG is not set: set it to the path of the kubeconfig")
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return fmt.Errorf("reading KUBECONFIG: %w", err)
	}
	config.Timeout = 10 * time.Second
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return fmt.Errorf("connecting to the cluster of KUBECONFIG: %w", err)
	}
	answer, err := client.RESTClient().Get().AbsPath("/version").Do(ctx).Raw()
	if err != nil {
		return fmt.Errorf("asking the cluster of KUBECONFIG for its version: %w", err)
	}
	var version struct {
		GitVersion string `json:"gitVersion"`
	}
	if err := json.Unmarshal(answer, &version); err != nil {
		return fmt.Errorf("reading the version of the cluster of KUBECONFIG: %w", err)
	}
	fmt.Fprintf(out, "using the existing cluster at %s, Kubernetes %s\n", config.Host, version.GitVersion)
	return nil
}

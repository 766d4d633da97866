// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package existing stands in for the test cluster when the user brings one: CLUSTER=existing and KUBECONFIG.
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

// Chosen says whether the environment asks for the user's own cluster, given the value of CLUSTER.
//
// An error means a value that nothing is known by: only `existing` has a meaning.
func Chosen(cluster string) (bool, error) {
	switch cluster {
	case "":
		return false, nil
	case "existing":
		return true, nil
	}
	return false, fmt.Errorf("CLUSTER is %q: set it to existing to use the cluster of KUBECONFIG, or unset it", cluster)
}

// Check asks the cluster of the kubeconfig for its version and tells it on out. Nothing is changed.
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

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package inventory

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/pflag"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// StaleAfter returns the agents' --coverage-stale-after as set in the DaemonSet, so that others can apply the same
// limit. It returns 0 if the flag is not set, or if there are no agents.
func StaleAfter(ctx context.Context, c client.Reader, namespace string) (time.Duration, error) {
	set := &appsv1.DaemonSet{}
	err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: contract.DaemonSetName}, set)
	if apierrors.IsNotFound(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("getting daemonset %s/%s: %w", namespace, contract.DaemonSetName, err)
	}
	for i := range set.Spec.Template.Spec.Containers {
		container := &set.Spec.Template.Spec.Containers[i]
		if container.Name != contract.DaemonSetName { // the agent's container has the name of the DaemonSet
			continue
		}
		var after time.Duration
		flags := pflag.NewFlagSet(container.Name, pflag.ContinueOnError)
		flags.ParseErrorsAllowlist.UnknownFlags = true
		flags.SetOutput(io.Discard)
		flags.Usage = func() {}
		flags.DurationVar(&after, "coverage-stale-after", 0, "")
		if err := flags.Parse(slices.Concat(container.Command, container.Args)); err != nil {
			return 0, fmt.Errorf("reading the agents' arguments in daemonset %s/%s: %w",
				namespace, contract.DaemonSetName, err)
		}
		return after, nil
	}
	return 0, nil
}

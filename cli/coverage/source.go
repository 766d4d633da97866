// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package coverage

import (
	"context"
	"time"

	"github.com/go-logr/logr"

	"github.com/velero-restic/velero-plugin-for-restic/cli/command"
	"github.com/velero-restic/velero-plugin-for-restic/internal/coverage"
	"github.com/velero-restic/velero-plugin-for-restic/internal/inventory"
)

// readStates returns the current state of every claim.
func readStates(
	ctx context.Context, env *command.Environment, staleAfter, timeout time.Duration,
) (states []coverage.State, err error) {
	create := func(ctx context.Context) (*inventory.Inventory, error) { return newInventory(ctx, env, staleAfter) }
	err = command.WithInventory(ctx, env, timeout, create, func(_ context.Context, i *inventory.Inventory) error {
		states = i.States(env.Clock.Now())
		return nil
	})
	return states, err
}

// newInventory creates the inventory. If staleAfter is 0, it uses the agents' limit, so that the result agrees with the
// agents' metrics.
func newInventory(
	ctx context.Context, env *command.Environment, staleAfter time.Duration,
) (*inventory.Inventory, error) {
	config, err := env.Config()
	if err != nil {
		return nil, err
	}
	c, err := env.Client()
	if err == nil && staleAfter == 0 {
		staleAfter, err = inventory.StaleAfter(ctx, c, env.Namespace())
	}
	if err != nil {
		return nil, err
	}
	return inventory.New(config, inventory.Options{
		Namespace: env.Namespace(), StaleAfter: staleAfter, Log: logr.Discard(),
	})
}

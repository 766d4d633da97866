// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package coverage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-logr/logr"

	"github.com/velero-restic/velero-plugin-for-restic/cli/command"
	"github.com/velero-restic/velero-plugin-for-restic/internal/coverage"
	"github.com/velero-restic/velero-plugin-for-restic/internal/inventory"
)

// errLate is the cause of a context whose --timeout has passed.
var errLate = errors.New("--timeout has passed")

// takeStock asks the cluster once for the state of every claim.
func takeStock(
	ctx context.Context, env *command.Environment, staleAfter, timeout time.Duration,
) (states []coverage.State, err error) {
	open := func(ctx context.Context) (*inventory.Inventory, error) { return openStock(ctx, env, staleAfter) }
	err = Synced(ctx, env, timeout, open, func(_ context.Context, stock *inventory.Inventory) error {
		states = stock.States(env.Clock.Now())
		return nil
	})
	return states, err
}

// openStock prepares an inventory. Without a time after which a success is stale the agents' holds, so that both say
// the same.
func openStock(ctx context.Context, env *command.Environment, staleAfter time.Duration) (*inventory.Inventory, error) {
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

// Stock is what Synced needs of an inventory.
type Stock interface {
	Start(ctx context.Context) error
	WaitForSync(ctx context.Context) error
	// Trouble is what cannot be read at the moment.
	Trouble() error
}

// Synced opens an inventory, has it look at the whole cluster, calls ask as soon as it has, and stops it. What takes
// longer than the timeout is an error, with exit code 4 unless there is a cause of its own. An inventory tries again
// for ever, so that an API server which cannot be reached, or has no Velero, is found out before.
func Synced[S Stock](
	ctx context.Context, env *command.Environment, timeout time.Duration, open func(context.Context) (S, error),
	ask func(context.Context, S) error,
) error {
	bounded, cancel := context.WithTimeoutCause(ctx, timeout, errLate)
	defer cancel()
	if err := env.FindVelero(bounded); err != nil {
		return err
	}
	stock, err := open(bounded)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	// Stopping it makes trouble of its own, so that it goes on until it has been asked for its trouble.
	watching, stop := context.WithCancel(ctx)
	go func() { ended <- stock.Start(watching) }()
	err = stock.WaitForSync(bounded)
	if err == nil {
		err = ask(bounded, stock)
	}
	if err != nil && errors.Is(context.Cause(bounded), errLate) {
		err = late(timeout, stock.Trouble())
	}
	stop()
	return errors.Join(err, <-ended)
}

// late says what kept the inventory, where that is known.
func late(timeout time.Duration, trouble error) error {
	if trouble == nil {
		return command.TimedOut(fmt.Errorf("%w after %s", errLate, timeout), "raise --timeout")
	}
	return command.TimedOut(fmt.Errorf("%w after %s: %w", errLate, timeout, trouble), "")
}

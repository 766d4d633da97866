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

// takeStock asks the cluster once for the state of every claim. Without a time after which a success is stale the
// agents' holds, so that both say the same.
func takeStock(
	ctx context.Context, env *command.Environment, staleAfter, timeout time.Duration,
) (states []coverage.State, err error) {
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
	stock, err := inventory.New(config, inventory.Options{
		Namespace: env.Namespace(), StaleAfter: staleAfter, Log: logr.Discard(),
	})
	if err != nil {
		return nil, err
	}
	err = Synced(ctx, stock, timeout, func(context.Context) error {
		states = stock.States(env.Clock.Now())
		return nil
	})
	return states, err
}

// Stock is what Synced needs of an inventory.
type Stock interface {
	Start(ctx context.Context) error
	WaitForSync(ctx context.Context) error
}

// Synced has an inventory look at the whole cluster, calls ask as soon as it has, and stops it. What takes longer than
// the timeout is an error with exit code 4.
func Synced(ctx context.Context, stock Stock, timeout time.Duration, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errLate)
	defer cancel()
	ended := make(chan error, 1)
	watching, stop := context.WithCancel(ctx)
	go func() { ended <- stock.Start(watching) }()
	err := stock.WaitForSync(ctx)
	if err == nil {
		err = ask(ctx)
	}
	stop()
	err = errors.Join(err, <-ended)
	if err != nil && errors.Is(context.Cause(ctx), errLate) {
		return command.TimedOut(fmt.Errorf("%w after %s: %w", errLate, timeout, err), "raise --timeout")
	}
	return err
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package command

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Inventory is what WithInventory needs of an inventory.Inventory.
type Inventory interface {
	// Start reads the cluster state until the context ends.
	Start(ctx context.Context) error
	// WaitForSync returns after the whole cluster state was read once.
	WaitForSync(ctx context.Context) error
	// ReadError returns what currently cannot be read.
	ReadError() error
}

// WithInventory creates an inventory, waits until it has read the cluster state, passes it to use, and stops it. If
// that takes longer than the timeout, it returns an error with exit code 4, or with the exit code of what cannot be
// read. An inventory retries forever, so WithInventory first checks that the API server is reachable and has Velero.
func WithInventory[I Inventory](
	ctx context.Context, env *Environment, timeout time.Duration, create func(context.Context) (I, error),
	use func(context.Context, I) error,
) error {
	bounded, cancel := WithTimeout(ctx, timeout)
	defer cancel()
	if err := env.RequireVelero(bounded); err != nil {
		return err
	}
	inventory, err := create(bounded)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	// Stopping the inventory makes its requests fail, so read its error first.
	running, stop := context.WithCancel(ctx)
	go func() { ended <- inventory.Start(running) }()
	err = inventory.WaitForSync(bounded)
	if err == nil {
		err = use(bounded, inventory)
	}
	if err != nil && IsTimeout(bounded) {
		err = inventoryTimeout(timeout, inventory.ReadError())
	}
	stop()
	return errors.Join(err, <-ended)
}

func inventoryTimeout(timeout time.Duration, readError error) error {
	if readError == nil {
		return TimeoutError(fmt.Errorf("%w after %s", ErrTimeout, timeout), "raise --timeout")
	}
	return TimeoutError(fmt.Errorf("%w after %s: %w", ErrTimeout, timeout, readError), "")
}

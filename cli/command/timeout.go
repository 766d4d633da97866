// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package command

import (
	"context"
	"errors"
	"time"
)

// ErrTimeout is the cause of a context that --timeout ended.
var ErrTimeout = errors.New("--timeout has passed")

// WithTimeout returns a context that ends after --timeout, with the cause ErrTimeout.
func WithTimeout(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, timeout, ErrTimeout)
}

// IsTimeout returns whether --timeout ended the context.
func IsTimeout(ctx context.Context) bool { return errors.Is(context.Cause(ctx), ErrTimeout) }

// CheckTimeout returns a usage error unless the value of --timeout is positive.
func CheckTimeout(timeout time.Duration) error {
	if timeout <= 0 {
		return UsageError(errors.New("--timeout must be more than 0"))
	}
	return nil
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package session

import (
	"fmt"
	"os"
	"path/filepath"
)

// Sweep removes the private folders that a killed process has left in the scratch folder. It must be called before
// the first Open.
func Sweep(scratchDir string) error {
	if err := os.RemoveAll(filepath.Join(scratchDir, "session")); err != nil {
		return fmt.Errorf("removing sessions of an earlier process: %w", err)
	}
	return nil
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package storage

import (
	"path/filepath"
	"testing"
)

func TestRclone(t *testing.T) {
	t.Parallel()
	newRclone := func(t *testing.T, keys map[string]string) *world {
		w := newWorld(t, elsewhere("rclone:nas:"+t.TempDir()))
		w.env["PATH"] = filepath.Dir(suite.rclone)
		w.extra(keys)
		return w
	}
	t.Run("with its remote in variables", func(t *testing.T) {
		newRclone(t, map[string]string{"RCLONE_CONFIG_NAS_TYPE": "local"}).cycle()
	})
	t.Run("with its remote in a file", func(t *testing.T) {
		newRclone(t, map[string]string{"rclone.conf": "[nas]\ntype = local\n"}).cycle()
	})
	t.Run("without its remote", func(t *testing.T) {
		newRclone(t, map[string]string{"rclone.conf": "[other]\ntype = local\n"}).
			refused("didn't find section in config file", "rclone has no remote of this name")
	})
	t.Run("that is not there", func(t *testing.T) {
		w := newRclone(t, map[string]string{"RCLONE_CONFIG_NAS_TYPE": "local"})
		w.env["PATH"] = "/nowhere"
		w.refused("examples/component/rclone")
	})
	t.Run("with a remote that is down", func(t *testing.T) {
		w := newRclone(t, map[string]string{
			"RCLONE_CONFIG_NAS_TYPE": "webdav", "RCLONE_CONFIG_NAS_URL": url("http", freeAddress(t)),
			"RCLONE_LOW_LEVEL_RETRIES": "1", "RCLONE_RETRIES": "1",
		})
		w.refused("is the server up")
	})
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/velero-restic/velero-plugin-for-restic/agent/session"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic/sandbox"
)

// sandboxed returns the process with a sandbox for each restic. Where this agent cannot build one, restic refuses to
// work in volumes, unless --trust-volume-owners is set.
func sandboxed(ctx context.Context, process restic.Process, options *Options) (restic.Process, error) {
	process.Sandbox = filepath.Join(options.ScratchDir, "sandbox")
	if err := os.MkdirAll(process.Sandbox, 0o700); err != nil {
		return process, fmt.Errorf("creating the mount point of sandboxes in --scratch-dir: %w", err)
	}
	err := process.CheckSandbox(ctx)
	if err == nil {
		return process, nil
	}
	if !errors.Is(err, sandbox.ErrUnavailable) {
		return process, fmt.Errorf("trying a sandbox: %w", err)
	}
	process.Sandbox = ""
	if options.TrustVolumeOwners {
		ctrl.Log.Info("Running restic without a sandbox: the owner of a volume can read and write files of this node",
			"reason", err.Error())
		return process, nil
	}
	process.Refusal = &session.NotUsableError{Message: fmt.Sprintf("the agent cannot confine restic to the volume "+
		"(%s): give container restic of DaemonSet restic the capabilities SYS_ADMIN and SYS_CHROOT, and an AppArmor "+
		"profile that allows mount, as examples/base does, on Linux 5.10 or later; or, if everyone who can start pods "+
		"may read and change all data of the cluster, start the agents with --trust-volume-owners", err)}
	ctrl.Log.Error(process.Refusal, "Refusing the volumes of this node")
	return process, nil
}

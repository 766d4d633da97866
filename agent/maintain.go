// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
)

// maintainTask is what the Job's pod does.
type maintainTask struct {
	// repository is the name of the ResticRepository.
	repository string
	// operation is one of check, prune, unlock and snapshots.
	operation string
	// part is which part of the data a check reads, as n/t; empty for none.
	part string
	// maxUnused and maxRepackSize bound a prune.
	maxUnused, maxRepackSize string
	// host is whose locks an unlock removes.
	host string
	// outcome is the file that the outcome is written to.
	outcome string
}

// errNotDone is the end of a command whose outcome has said why already.
var errNotDone = errors.New("the operation has not succeeded")

// maintainCommand is what the leader's Jobs run.
func maintainCommand(options *Options) *cobra.Command {
	var task maintainTask
	command := &cobra.Command{
		Use:   "maintain",
		Short: "Check, prune or unlock one repository or list it, and tell the outcome in the termination message",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return maintain(command.Context(), options, task)
		},
	}
	flags := command.Flags()
	flags.StringVar(&task.repository, "repository", "", "name of the ResticRepository")
	flags.StringVar(&task.operation, "operation", "", "check, prune, unlock or snapshots")
	flags.StringVar(&task.part, "part", "", "part of the data that a check reads, as n/t; default: none")
	flags.StringVar(&task.maxUnused, "max-unused", "", "restic's option of a prune")
	flags.StringVar(&task.maxRepackSize, "max-repack-size", "", "restic's option of a prune")
	flags.StringVar(&task.host, "host", "", "whose locks an unlock removes: this pod's host name")
	flags.StringVar(&task.outcome, "outcome", corev1.TerminationMessagePathDefault, "file for the outcome")
	return command
}

func maintain(ctx context.Context, options *Options, task maintainTask) error {
	outcome, err := carryOut(ctx, options, task)
	if err != nil {
		outcome = transfer.MaintainOutcome{Result: resticv1.MaintenanceFailed, Message: err.Error()}
	}
	content, err := json.Marshal(outcome)
	if err != nil {
		return fmt.Errorf("encoding the outcome: %w", err)
	}
	if err := os.WriteFile(task.outcome, content, 0o600); err != nil {
		return fmt.Errorf("telling the outcome %s: %w", content, err)
	}
	ctrl.Log.Info("Done", "operation", task.operation, "repository", task.repository, "result", outcome.Result,
		"message", outcome.Message)
	if outcome.Result != resticv1.MaintenanceSucceeded {
		return errNotDone
	}
	return nil
}

func carryOut(ctx context.Context, options *Options, task maintainTask) (transfer.MaintainOutcome, error) {
	var none transfer.MaintainOutcome
	request, err := task.request()
	if err != nil {
		return none, err
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return none, fmt.Errorf("finding the API server: %w", err)
	}
	reader, err := client.New(config, client.Options{Scheme: newScheme()})
	if err != nil {
		return none, fmt.Errorf("preparing to read from the API server: %w", err)
	}
	repository := &resticv1.ResticRepository{}
	key := client.ObjectKey{Namespace: options.Namespace, Name: task.repository}
	if err := reader.Get(ctx, key, repository); err != nil {
		return none, fmt.Errorf("reading ResticRepository %s: %w", key, err)
	}
	request.Repository = transfer.Repository{
		Location: repository.Spec.BackupStorageLocation, Namespace: repository.Spec.VolumeNamespace,
	}
	runner, err := newRunner(ctx, options)
	if err != nil {
		return none, err
	}
	mover, err := newMover(reader, runner, options)
	if err != nil {
		return none, err
	}
	if task.host != "" {
		// This pod has been given the name of one that is gone, and nobody else has it.
		mover.SharedHost = mover.Host != task.host
	}
	request.List = os.Stdout
	start := time.Now()
	outcome := mover.Maintain(ctx, request)
	ctrl.Log.Info("restic has ended", "after", time.Since(start).Round(time.Millisecond).String())
	return outcome, nil
}

// request returns what is asked for, without the repository.
func (o maintainTask) request() (transfer.MaintainRequest, error) {
	request := transfer.MaintainRequest{
		Host: o.host, Prune: restic.PruneOptions{MaxUnused: o.maxUnused, MaxRepackSize: o.maxRepackSize},
	}
	if o.repository == "" {
		return request, errors.New("--repository is empty: it is the name of a ResticRepository")
	}
	for _, operation := range []resticv1.MaintenanceOperation{
		resticv1.OperationCheck, resticv1.OperationPrune, resticv1.OperationUnlock, resticv1.OperationSnapshots,
	} {
		if o.operation == strings.ToLower(string(operation)) {
			request.Operation = operation
		}
	}
	if request.Operation == "" {
		return request, fmt.Errorf("--operation is %q: it must be check, prune, unlock or snapshots", o.operation)
	}
	if o.part != "" {
		if n, err := fmt.Sscanf(o.part, "%d/%d", &request.Check.Part, &request.Check.Parts); n != 2 || err != nil {
			return request, fmt.Errorf("--part is %q: it must be of the form n/t", o.part)
		}
	}
	return request, nil
}

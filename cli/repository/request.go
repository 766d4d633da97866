// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package repository

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/controller-runtime/pkg/client"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/cli/command"
)

// defaultTimeout is how long a command follows its requests. The cluster continues afterwards.
const defaultTimeout = time.Hour

// requestCommand is a command that sends requests and follows them.
type requestCommand struct {
	env       *command.Environment
	operation resticv1.MaintenanceOperation
	all       bool
	noWait    bool
	timeout   time.Duration
}

func (r *requestCommand) command(use *cobra.Command) *cobra.Command {
	use.ValidArgsFunction = completeNames(r.env, true)
	use.RunE = func(cobraCommand *cobra.Command, args []string) error {
		return r.run(cobraCommand.Context(), args)
	}
	flags := use.Flags()
	flags.BoolVar(&r.all, "all", false, "all repositories of the cluster")
	flags.BoolVar(&r.noWait, "no-wait", false, "send the request and exit")
	flags.DurationVar(&r.timeout, "timeout", defaultTimeout,
		"how long to follow the requests, all together; the cluster continues afterwards")
	return use
}

func checkCommand(env *command.Environment) *cobra.Command {
	r := &requestCommand{env: env, operation: resticv1.OperationCheck}
	return r.command(&cobra.Command{
		Use:   "check NAME...",
		Short: "Check repositories for damage",
		Long: `Check repositories for damage, and follow the checks until they finish.

A check verifies the structure, and reads the next part of the data: one of spec.checkParts of the repository. A Job in
the cluster runs it, after backups and restores of the same repository.

Exit code 3 means that a repository is damaged. For what to do then, see docs/maintenance.md.`,
		Example: `  # Check the repository of namespace shop
  velero-restic repo check shop

  # Check all of them, and give up following after two hours
  velero-restic repo check --all --timeout 2h

  # Only ask for it
  velero-restic repo check NAME --no-wait`,
	})
}

func pruneCommand(env *command.Environment) *cobra.Command {
	r := &requestCommand{env: env, operation: resticv1.OperationPrune}
	return r.command(&cobra.Command{
		Use:   "prune NAME...",
		Short: "Free the space of deleted backups",
		Long: `Free the space of deleted backups, and follow the prunes until they finish.

A Job in the cluster prunes the repository, after backups and restores of the same repository. Without this command,
each repository is pruned every spec.maintenanceFrequency.`,
		Example: `  # Prune the repository of namespace shop
  velero-restic repo prune shop

  # Prune all of them
  velero-restic repo prune --all`,
	})
}

func unlockCommand(env *command.Environment) *cobra.Command {
	r := &requestCommand{env: env, operation: resticv1.OperationUnlock}
	return r.command(&cobra.Command{
		Use:   "unlock NAME...",
		Short: "Remove stale locks",
		Long: `Remove stale locks: locks that restic considers stale, and locks of pods of this cluster that no longer
exist. Other locks stay, and the result lists them.`,
		Example: `  # Remove the locks of a pod that was killed
  velero-restic repo unlock shop`,
	})
}

func (r *requestCommand) run(ctx context.Context, names []string) error {
	if err := command.CheckTimeout(r.timeout); err != nil {
		return err
	}
	api, err := r.env.Client()
	if err != nil {
		return err
	}
	repositories, err := selectRepositories(ctx, api, r.env.Namespace(), names, r.all)
	if err != nil {
		return err
	}
	agents := &agents{reader: api, namespace: r.env.Namespace(), clock: r.env.Clock}
	if err := agents.ready(ctx); err != nil {
		return err
	}
	if len(repositories) == 0 {
		if err := r.env.RequireVelero(ctx); err != nil {
			return err
		}
		printNoRepositories(r.env)
		return nil
	}
	follow := newFollower(r.env, api, agents, r.operation)
	if err := r.sendAll(ctx, api, follow, repositories); err != nil {
		return err
	}
	if r.noWait {
		fmt.Fprintf(r.env.Out, "To see the result: %s repo get NAME -o yaml, status.maintenance\n", r.env.Program)
		return follow.summary()
	}
	return follow.run(ctx, r.timeout)
}

// sendAll sends a request to each repository. It continues if one fails, and returns an error if all fail.
func (r *requestCommand) sendAll(
	ctx context.Context, api client.Client, follow *follower, repositories []*resticv1.ResticRepository,
) error {
	var first error
	for _, repository := range repositories {
		sent, err := sendRequest(ctx, api, repository, r.operation, r.env.Clock.Now())
		switch {
		case err == nil:
			follow.add(sent)
		case ctx.Err() != nil, len(repositories) == 1:
			return err
		default:
			follow.addFailed(repository.Name, err)
			if first == nil {
				first = err
			}
		}
	}
	if len(follow.open()) == 0 {
		return first
	}
	return nil
}

// maxAttempts limits the attempts to write a request if others write the repository at the same time.
const maxAttempts = 10

// sendRequest writes the request, unless an equal request of someone else is queued or active: then it returns that
// one. A running list is not equal, because it may lack new snapshots.
func sendRequest(
	ctx context.Context, api client.Client, repository *resticv1.ResticRepository,
	operation resticv1.MaintenanceOperation, now time.Time,
) (*trackedRequest, error) {
	var err error
	for range maxAttempts {
		old := repository.DeepCopy()
		wanted := requestIDOf(&repository.Spec.Requests, operation)
		served := requestIDOf(&repository.Status.Served, operation)
		t := &trackedRequest{name: repository.Name, requestID: *wanted, servedBefore: *served}
		if *wanted != "" && *wanted != *served {
			t.existing = true
			return t, nil
		}
		if entry := activeRequest(repository, operation); entry != nil && !isList(operation) {
			t.requestID, t.existing = entry.Request, true
			return t, nil
		}
		const suffix = 5
		*wanted = now.UTC().Format("20060102T150405Z") + "-" + rand.String(suffix)
		t.requestID = *wanted
		err = api.Patch(ctx, repository, client.MergeFromWithOptions(old, client.MergeFromWithOptimisticLock{}))
		if err == nil {
			return t, nil
		}
		if !apierrors.IsConflict(err) {
			break
		}
		// Unmarshaling into the old object would keep fields that the API server does not have.
		repository = &resticv1.ResticRepository{}
		if err := api.Get(ctx, client.ObjectKeyFromObject(old), repository); err != nil {
			return nil, fmt.Errorf("reading %s %s: %w", kind, old.Name, err)
		}
	}
	return nil, fmt.Errorf("sending the request to %s %s: %w", kind, repository.Name, err)
}

// requestIDOf returns the request ID of an operation. Writing to it changes the requests.
func requestIDOf(requests *resticv1.RepositoryRequests, operation resticv1.MaintenanceOperation) *string {
	switch operation {
	case resticv1.OperationCheck:
		return &requests.Check
	case resticv1.OperationPrune:
		return &requests.Prune
	case resticv1.OperationUnlock:
		return &requests.Unlock
	case resticv1.OperationSnapshots:
		return &requests.Snapshots
	}
	return new(string)
}

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

// defaultTimeout bounds how long a command follows what it has asked for. The cluster goes on without it.
const defaultTimeout = time.Hour

// request is a command that asks the cluster for something and follows it.
type request struct {
	env       *command.Environment
	operation resticv1.MaintenanceOperation
	all       bool
	noWait    bool
	timeout   time.Duration
}

func (r *request) command(use *cobra.Command) *cobra.Command {
	use.ValidArgsFunction = completeNames(r.env, true)
	use.RunE = func(cobraCommand *cobra.Command, args []string) error {
		return r.run(cobraCommand.Context(), args)
	}
	flags := use.Flags()
	flags.BoolVar(&r.all, "all", false, "every repository of the cluster")
	flags.BoolVar(&r.noWait, "no-wait", false, "ask for it, and do not follow it")
	flags.DurationVar(&r.timeout, "timeout", defaultTimeout,
		"how long to follow it, all repositories together; the cluster goes on with it afterwards")
	return use
}

func checkCommand(env *command.Environment) *cobra.Command {
	r := &request{env: env, operation: resticv1.OperationCheck}
	return r.command(&cobra.Command{
		Use:   "check NAME...",
		Short: "Have repositories checked for damage",
		Long: `Have repositories checked for damage, and follow it to its end.

A check looks at the structure and reads the next part of the data: one of spec.checkParts of the repository. It is
done by a Job in the cluster, which waits for backups and restores of the same repository.

Exit code 3 says that a repository is damaged; docs/maintenance.md says what to do then.`,
		Example: `  # Check the repository of namespace shop
  velero-restic repo check shop

  # Check all of them, and give up following after two hours
  velero-restic repo check --all --timeout 2h

  # Only ask for it
  velero-restic repo check NAME --no-wait`,
	})
}

func pruneCommand(env *command.Environment) *cobra.Command {
	r := &request{env: env, operation: resticv1.OperationPrune}
	return r.command(&cobra.Command{
		Use:   "prune NAME...",
		Short: "Have the space freed that deleted backups leave",
		Long: `Have the space freed that deleted backups leave, and follow it to its end.

It is done by a Job in the cluster, which waits for backups and restores of the same repository. Without this command,
each repository is pruned every spec.maintenanceFrequency.`,
		Example: `  # Prune the repository of namespace shop
  velero-restic repo prune shop

  # Prune all of them
  velero-restic repo prune --all`,
	})
}

func unlockCommand(env *command.Environment) *cobra.Command {
	r := &request{env: env, operation: resticv1.OperationUnlock}
	return r.command(&cobra.Command{
		Use:   "unlock NAME...",
		Short: "Have abandoned locks removed",
		Long: `Have abandoned locks removed: those that restic takes for stale, and those whose holder was a pod of this
cluster that is gone. Locks of those that live are left, and named in the result.`,
		Example: `  # Remove what a killed pod has left
  velero-restic repo unlock shop`,
	})
}

func (r *request) run(ctx context.Context, names []string) error {
	if err := command.CheckTimeout(r.timeout); err != nil {
		return err
	}
	api, err := r.env.Client()
	if err != nil {
		return err
	}
	repositories, err := chosen(ctx, api, r.env.Namespace(), names, r.all)
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
		tellNone(r.env)
		return nil
	}
	follow := newFollower(r.env, api, agents, r.operation)
	if err := r.ask(ctx, api, follow, repositories); err != nil {
		return err
	}
	if r.noWait {
		fmt.Fprintf(r.env.Out, "What becomes of it: %s repo get NAME -o yaml, status.maintenance\n", r.env.Program)
		return follow.verdict()
	}
	return follow.run(ctx, r.timeout)
}

// ask asks for it in each repository. One that cannot be asked keeps none of the others from it; it is an error where
// none can.
func (r *request) ask(
	ctx context.Context, api client.Client, follow *follower, repositories []*resticv1.ResticRepository,
) error {
	var first error
	for _, repository := range repositories {
		asked, err := ask(ctx, api, repository, r.operation, r.env.Clock.Now())
		switch {
		case err == nil:
			follow.add(asked)
		case ctx.Err() != nil, len(repositories) == 1:
			return err
		default:
			follow.refused(repository.Name, err)
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

// asks bounds the attempts to write a request beside somebody who writes, too.
const asks = 10

// ask writes the request, unless somebody has asked for the same, and it waits or is being done: then that one is to be
// followed. A list that is being made is another one: it lacks what has come since it began.
func ask(
	ctx context.Context, api client.Client, repository *resticv1.ResticRepository,
	operation resticv1.MaintenanceOperation, now time.Time,
) (*track, error) {
	var err error
	for range asks {
		old := repository.DeepCopy()
		wanted, served := wordOf(&repository.Spec.Requests, operation), wordOf(&repository.Status.Served, operation)
		t := &track{name: repository.Name, word: *wanted, before: *served}
		if *wanted != "" && *wanted != *served {
			t.joined = true
			return t, nil
		}
		if entry := underway(repository, operation); entry != nil && !listing(operation) {
			t.word, t.joined = entry.Request, true
			return t, nil
		}
		const suffix = 5
		*wanted = now.UTC().Format("20060102T150405Z") + "-" + rand.String(suffix)
		t.word = *wanted
		err = api.Patch(ctx, repository, client.MergeFromWithOptions(old, client.MergeFromWithOptimisticLock{}))
		if err == nil {
			return t, nil
		}
		if !apierrors.IsConflict(err) {
			break
		}
		// Read into the old one, what nobody has written would stay.
		repository = &resticv1.ResticRepository{}
		if err := api.Get(ctx, client.ObjectKeyFromObject(old), repository); err != nil {
			return nil, fmt.Errorf("reading %s %s: %w", kind, old.Name, err)
		}
	}
	return nil, fmt.Errorf("asking for it in %s %s: %w", kind, repository.Name, err)
}

// wordOf returns the word of an operation, to be read and changed.
func wordOf(requests *resticv1.RepositoryRequests, operation resticv1.MaintenanceOperation) *string {
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

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package repository has the commands for restic repositories: they show repositories, and request operations by
// writing to the ResticRepository. The cluster carries out the operations; the commands need no credentials.
package repository

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/cli/command"
)

// Command returns the command `repo`.
func Command(env *command.Environment) *cobra.Command {
	group := &cobra.Command{
		Use:     "repo",
		Aliases: []string{"repository", "repositories", "repos"},
		Short:   "Show, check, prune, unlock and list restic repositories",
		Long: `Show, check, prune, unlock and list restic repositories.

Each namespace has a repository in each storage location. NAME is the name of its ResticRepository, or the namespace
whose volumes it holds if that has only one repository.`,
	}
	return command.Group(group, getCommand(env), checkCommand(env), pruneCommand(env), unlockCommand(env),
		snapshotsCommand(env))
}

const kind = "ResticRepository"

// find returns the repository with this name, or the only one of the namespace with this name.
func find(ctx context.Context, reader client.Reader, namespace, name string) (*resticv1.ResticRepository, error) {
	repository := &resticv1.ResticRepository{}
	err := reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, repository)
	if err == nil {
		return repository, nil
	}
	if !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("reading %s %s/%s: %w", kind, namespace, name, err)
	}
	all := &resticv1.ResticRepositoryList{}
	if err := reader.List(ctx, all, client.InNamespace(namespace)); err != nil {
		return nil, fmt.Errorf("listing repositories: %w", err)
	}
	var names []string
	var of []*resticv1.ResticRepository
	for i := range all.Items {
		names = append(names, all.Items[i].Name)
		if all.Items[i].Spec.VolumeNamespace == name {
			of = append(of, &all.Items[i])
		}
	}
	switch len(of) {
	case 0:
		return nil, command.NotFoundError(kind, namespace, name, names)
	case 1:
		return of[0], nil
	}
	names = names[:0]
	for _, repository := range of {
		names = append(names, repository.Name)
	}
	return nil, command.NewError(fmt.Errorf("namespace %q has %d repositories", name, len(of)),
		"name one of them: "+strings.Join(names, ", "))
}

// selectRepositories returns the repositories that the command line selects.
func selectRepositories(
	ctx context.Context, reader client.Reader, namespace string, names []string, all bool,
) ([]*resticv1.ResticRepository, error) {
	switch {
	case all && len(names) > 0:
		return nil, command.UsageError(errors.New("give names or --all, not both"))
	case !all && len(names) == 0:
		return nil, command.UsageError(errors.New("give the name of a repository, or --all"))
	}
	var repositories []*resticv1.ResticRepository
	if all {
		list := &resticv1.ResticRepositoryList{}
		if err := reader.List(ctx, list, client.InNamespace(namespace)); err != nil {
			return nil, fmt.Errorf("listing repositories: %w", err)
		}
		for i := range list.Items {
			repositories = append(repositories, &list.Items[i])
		}
		return repositories, nil
	}
	seen := map[string]bool{}
	for _, name := range names {
		repository, err := find(ctx, reader, namespace, name)
		if err != nil {
			return nil, err
		}
		if !seen[repository.Name] {
			seen[repository.Name] = true
			repositories = append(repositories, repository)
		}
	}
	return repositories, nil
}

// printNoRepositories reports that Velero's namespace has no repositories.
func printNoRepositories(env *command.Environment) {
	fmt.Fprintf(env.ErrOut, "There are no repositories in namespace %s: the first backup of a volume creates one.\n",
		env.Namespace())
}

// completeNames completes the names of repositories.
func completeNames(env *command.Environment, multiple bool) cobra.CompletionFunc {
	return env.CompleteNames(multiple, func() client.ObjectList { return &resticv1.ResticRepositoryList{} })
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package repository

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/controller-runtime/pkg/client"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/cli/command"
)

// getter is the command `repo get`.
type getter struct {
	env      *command.Environment
	output   *command.Output
	selector string
}

func getCommand(env *command.Environment) *cobra.Command {
	g := &getter{env: env}
	get := &cobra.Command{
		Use:   "get [NAME...]",
		Short: "Show repositories",
		Example: `  # All repositories, and when each was last pruned
  velero-restic repo get

  # With place, last check and damage found
  velero-restic repo get -o wide

  # One of them with everything that is known of it
  velero-restic repo get NAME -o yaml

  # Those of one storage location
  velero-restic repo get -l velero.io/storage-location=default`,
		ValidArgsFunction: completeNames(env, true),
		RunE: func(cobraCommand *cobra.Command, args []string) error {
			return g.run(cobraCommand.Context(), args)
		},
	}
	g.output = command.AddOutput(get, command.FormatTable, command.FormatWide, command.FormatJSON, command.FormatYAML)
	get.Flags().StringVarP(&g.selector, "selector", "l", "", "only repositories with these labels, such as key=value")
	return get
}

func (g *getter) run(ctx context.Context, names []string) error {
	selector, err := labels.Parse(g.selector)
	if err != nil {
		return command.UsageError(fmt.Errorf("--selector: %w", err))
	}
	if len(names) > 0 && !selector.Empty() {
		return command.UsageError(fmt.Errorf("give names or --selector, not both"))
	}
	reader, err := g.env.Client()
	if err != nil {
		return err
	}
	// Unstructured objects keep fields that this version of the program does not know.
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(resticv1.GroupVersion().WithKind(kind + "List"))
	if len(names) == 0 {
		err = reader.List(ctx, list, client.InNamespace(g.env.Namespace()),
			client.MatchingLabelsSelector{Selector: selector})
	} else {
		list.Items, err = g.named(ctx, reader, names)
	}
	if err != nil {
		return fmt.Errorf("getting repositories: %w", err)
	}
	slices.SortStableFunc(list.Items, func(a, b unstructured.Unstructured) int {
		return cmp.Compare(a.GetName(), b.GetName())
	})
	if len(list.Items) == 0 {
		if err := g.env.RequireVelero(ctx); err != nil {
			return err
		}
	}
	return g.print(list.Items, len(names) == 1)
}

func (g *getter) print(items []unstructured.Unstructured, single bool) error {
	switch {
	case g.output.Object():
		return g.printObjects(items, single)
	case len(items) > 0:
		return g.printTable(items)
	case g.selector != "":
		fmt.Fprintf(g.env.ErrOut, "There are no repositories with these labels in namespace %s.\n", g.env.Namespace())
	default:
		printNoRepositories(g.env)
	}
	return nil
}

func (g *getter) named(
	ctx context.Context, reader client.Reader, names []string,
) ([]unstructured.Unstructured, error) {
	found := make([]unstructured.Unstructured, 0, len(names))
	for _, name := range names {
		repository, err := g.one(ctx, reader, name)
		if err != nil {
			return nil, err
		}
		found = append(found, *repository)
	}
	return found, nil
}

func (g *getter) one(ctx context.Context, reader client.Reader, name string) (*unstructured.Unstructured, error) {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(resticv1.GroupVersion().WithKind(kind))
	key := client.ObjectKey{Namespace: g.env.Namespace(), Name: name}
	err := reader.Get(ctx, key, object)
	if !apierrors.IsNotFound(err) {
		return object, err
	}
	repository, err := find(ctx, reader, key.Namespace, name)
	if err != nil {
		return nil, err
	}
	key.Name = repository.Name
	return object, reader.Get(ctx, key, object)
}

// printObjects prints the same as kubectl: one object for one name, else a list.
func (g *getter) printObjects(items []unstructured.Unstructured, single bool) error {
	if single && len(items) == 1 {
		return g.output.Print(g.env, &items[0])
	}
	list := &corev1.List{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "List"}, Items: []runtime.RawExtension{}}
	for i := range items {
		list.Items = append(list.Items, runtime.RawExtension{Object: &items[i]})
	}
	return g.output.Print(g.env, list)
}

// printTable prints the columns of `velero restic repo get` (velero v1.5, pkg/cmd/util/output/restic_repo_printer.go).
func (g *getter) printTable(items []unstructured.Unstructured) error {
	table := &command.Table{Header: []string{"Name", "Status", "Last Maintenance"}}
	wide := g.output.Format == command.FormatWide
	if wide {
		table.Header = append(table.Header, "Namespace", "Location", "Intact", "Last Check", "Unlocked", "Age",
			"Repository", "Message")
	}
	for i := range items {
		repository := &resticv1.ResticRepository{}
		err := runtime.DefaultUnstructuredConverter.FromUnstructured(items[i].Object, repository)
		if err != nil {
			return fmt.Errorf("reading %s %s: %w", kind, items[i].GetName(), err)
		}
		row := []command.Cell{
			command.Text(repository.Name), phaseCell(repository.Status.Phase),
			command.Text(timeText(repository.Status.LastMaintenanceTime)),
		}
		if wide {
			row = append(row, g.wide(repository)...)
		}
		table.Add(row...)
	}
	return table.Write(g.env.Out, g.env.Palette())
}

func (g *getter) wide(repository *resticv1.ResticRepository) []command.Cell {
	return []command.Cell{
		command.Text(repository.Spec.VolumeNamespace), command.Text(repository.Spec.BackupStorageLocation),
		conditionCell(repository, resticv1.ConditionIntact), command.Text(timeText(repository.Status.LastCheckTime)),
		conditionCell(repository, resticv1.ConditionUnlocked),
		command.Text(duration.HumanDuration(g.env.Clock.Since(repository.CreationTimestamp.Time))),
		command.Text(repository.Status.ResticIdentifier), command.Text(repository.Status.Message),
	}
}

func phaseCell(phase resticv1.RepositoryPhase) command.Cell {
	style := command.Good
	switch phase {
	case "", resticv1.RepositoryNew:
		phase, style = resticv1.RepositoryNew, command.Plain
	case resticv1.RepositoryNotReady:
		style = command.Bad
	case resticv1.RepositoryReady:
	}
	return command.Styled(style, string(phase))
}

// conditionCell returns a cell for a condition that should be true.
func conditionCell(repository *resticv1.ResticRepository, kind string) command.Cell {
	condition := meta.FindStatusCondition(repository.Status.Conditions, kind)
	switch {
	case condition == nil:
		return command.Text("Unknown")
	case condition.Status == metav1.ConditionTrue:
		return command.Styled(command.Good, string(condition.Status))
	case condition.Status == metav1.ConditionFalse:
		return command.Styled(command.Bad, string(condition.Status))
	}
	return command.Text(string(condition.Status))
}

// timeText formats a time in the same way as Velero.
func timeText(at *metav1.Time) string {
	if at == nil || at.IsZero() {
		return "<never>"
	}
	return at.Format(timeFormat)
}

// timeFormat is the format of Velero's tables, and Go's default.
const timeFormat = "2006-01-02 15:04:05 -0700 MST"

// durationText formats a duration in seconds.
func durationText(d time.Duration) string { return d.Round(time.Second).String() }

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package repository

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/cli/command"
	"github.com/velero-restic/velero-plugin-for-restic/cli/display"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/snapshotlist"
)

// listTimeout is how long the command waits for the list. It is longer than the leader waits for the Job's pod
// (agent/maintenance/jobspec/settings.go, DefaultStartDeadline), so that the leader's error comes first.
const listTimeout = 15 * time.Minute

// lister is the command repo snapshots.
type lister struct {
	env                *command.Environment
	output             *command.Output
	backup, pod, claim string
	timeout            time.Duration
}

func snapshotsCommand(env *command.Environment) *cobra.Command {
	l := &lister{env: env}
	snapshots := &cobra.Command{
		Use:     "snapshots NAME",
		Aliases: []string{"snapshot"},
		Short:   "List the snapshots of a repository",
		Long: `List the snapshots of a repository, the newest first.

A Job in the cluster, which has the credentials, creates the list, and the command reads it from the Job's log. Listing
takes no lock, and blocks no other operation.`,
		Example: `  # All snapshots in the repository of namespace shop
  velero-restic repo snapshots shop

  # What there is of one claim
  velero-restic repo snapshots shop --claim data-postgres-0

  # The IDs of a backup's snapshots
  velero-restic repo snapshots shop --backup nightly-20261122 -o json | jq -r '.[].id'`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeNames(env, false),
		RunE: func(cobraCommand *cobra.Command, args []string) error {
			return l.run(cobraCommand.Context(), args[0])
		},
	}
	l.output = command.AddOutput(snapshots, command.FormatTable, command.FormatJSON, command.FormatYAML)
	flags := snapshots.Flags()
	flags.StringVar(&l.backup, "backup", "", "only snapshots of this Velero backup")
	flags.StringVar(&l.pod, "pod", "", "only snapshots of this pod's volumes")
	flags.StringVar(&l.claim, "claim", "", "only snapshots of this PersistentVolumeClaim")
	flags.StringVar(&l.claim, "pvc", "", "the same as --claim")
	flags.DurationVar(&l.timeout, "timeout", listTimeout, "how long to wait for the list")
	snapshots.MarkFlagsMutuallyExclusive("claim", "pvc")
	return snapshots
}

func (l *lister) run(ctx context.Context, name string) error {
	if err := command.CheckTimeout(l.timeout); err != nil {
		return err
	}
	api, err := l.env.Client()
	if err != nil {
		return err
	}
	repository, err := find(ctx, api, l.env.Namespace(), name)
	if err != nil {
		return err
	}
	agents := &agents{reader: api, namespace: l.env.Namespace(), clock: l.env.Clock}
	if err := agents.ready(ctx); err != nil {
		return err
	}
	follow := newFollower(l.env, api, agents, resticv1.OperationSnapshots)
	follow.toStderr, follow.quiet = true, true
	sent, err := sendRequest(ctx, api, repository, resticv1.OperationSnapshots, l.env.Clock.Now())
	if err != nil {
		return err
	}
	follow.add(sent)
	if err := follow.run(ctx, l.timeout); err != nil {
		return err
	}
	listed, err := l.read(ctx, api, follow.tracked[0].result.Job)
	var partial *snapshotlist.PartialError
	if err != nil && !errors.As(err, &partial) {
		return err
	}
	if listed, err = l.filter(ctx, api, repository, listed); err != nil {
		return err
	}
	if err := l.print(listed); err != nil {
		return err
	}
	return l.reportPartial(partial)
}

// reportPartial reports snapshots that the list lacks. Unreadable snapshots mean damage.
func (l *lister) reportPartial(partial *snapshotlist.PartialError) error {
	switch {
	case partial == nil:
		return nil
	case partial.Unreadable > 0:
		return command.ProblemError(partial)
	}
	l.warn(partial.Error())
	return nil
}

func (l *lister) warn(text string) { fmt.Fprintln(l.env.ErrOut, "warning:", display.Line(text)) }

// read reads the list from the log of the Job's pod.
func (l *lister) read(ctx context.Context, api client.Reader, job string) ([]snapshotlist.Snapshot, error) {
	pods := &corev1.PodList{}
	if err := api.List(ctx, pods, client.InNamespace(l.env.Namespace()),
		client.MatchingLabels{batchv1.JobNameLabel: job}); err != nil {
		return nil, fmt.Errorf("listing pods of Job %s: %w", job, err)
	}
	if len(pods.Items) == 0 {
		return nil, command.NewError(fmt.Errorf("the pod of Job %s was deleted, and its log with the list", job),
			"run the command again")
	}
	clientset, err := l.env.Clientset()
	if err != nil {
		return nil, err
	}
	log, err := clientset.CoreV1().Pods(l.env.Namespace()).GetLogs(pods.Items[0].Name,
		&corev1.PodLogOptions{Container: contract.DaemonSetName}).Stream(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the list in the log of pod %s: %w", pods.Items[0].Name, err)
	}
	listed, err := snapshotlist.Read(log)
	if closeErr := log.Close(); err == nil && closeErr != nil {
		err = fmt.Errorf("reading the list in the log of pod %s: %w", pods.Items[0].Name, closeErr)
	}
	if errors.Is(err, snapshotlist.ErrCut) {
		return nil, command.NewError(err, "run the command again")
	}
	return listed, err
}

// filter returns the snapshots that the flags select. Snapshots of Velero <= 1.16 have the UID of their claim and not
// its name: if the claim cannot be read, filter warns about them.
func (l *lister) filter(
	ctx context.Context, api client.Reader, repository *resticv1.ResticRepository, listed []snapshotlist.Snapshot,
) ([]snapshotlist.Snapshot, error) {
	claim := &corev1.PersistentVolumeClaim{}
	var unread error
	if l.claim != "" {
		key := client.ObjectKey{Namespace: repository.Spec.VolumeNamespace, Name: l.claim}
		unread = api.Get(ctx, key, claim)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("reading PersistentVolumeClaim %s: %w", key, unread)
		}
	}
	omitted := 0
	kept := slices.DeleteFunc(listed, func(s snapshotlist.Snapshot) bool {
		switch {
		case l.backup != "" && s.Backup != l.backup, l.pod != "" && s.Pod != l.pod:
			return true
		case l.claim == "", s.PVC == l.claim:
			return false
		case s.PVC != "", s.PVCUID == "":
			return true
		case unread != nil:
			omitted++
			return true
		}
		return s.PVCUID != string(claim.UID)
	})
	if omitted > 0 {
		l.warn(fmt.Sprintf("%d omitted: snapshots of Velero <= 1.16 have only the UID of their claim, and claim %s "+
			"cannot be read (%v); use --pod instead", omitted, l.claim, unread))
	}
	return kept, nil
}

func (l *lister) print(listed []snapshotlist.Snapshot) error {
	if l.output.Object() {
		if listed == nil {
			listed = []snapshotlist.Snapshot{}
		}
		return l.output.PrintValue(l.env, listed)
	}
	if len(listed) == 0 {
		fmt.Fprintln(l.env.ErrOut, "There are no matching snapshots.")
		return nil
	}
	table := &command.Table{Header: []string{"Snapshot", "Time", "Backup", "Pod", "Volume", "Claim", "Size"}}
	for i := range listed {
		s := &listed[i]
		const short = 8 // the length of restic's short IDs
		size := "unknown"
		if s.Size != nil {
			size = display.Bytes(s.Size.Bytes)
		}
		table.Add(command.Text(s.ID[:min(len(s.ID), short)]), command.Text(s.Time.Local().Format(timeFormat)),
			command.Text(s.Backup), command.Text(s.Pod), command.Text(s.Volume), command.Text(s.PVC),
			command.Text(size))
	}
	return table.Write(l.env.Out, l.env.Palette())
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/velero-restic/velero-plugin-for-restic/agent/session"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
)

// MaintainRequest is one operation on a repository as a whole.
type MaintainRequest struct {
	Repository Repository
	Operation  resticv1.MaintenanceOperation
	// Check says what a check reads.
	Check restic.CheckOptions
	// Prune bounds a prune.
	Prune restic.PruneOptions
	// Host is whose locks an unlock removes: this process must have that host name. Empty for those that restic itself
	// takes for abandoned.
	Host string
	// List is what a list of snapshots is written to, in the form of package snapshotlist.
	List io.Writer
}

// MaintainOutcome is how it ended, small enough for the termination message of a container.
type MaintainOutcome struct {
	Result  resticv1.MaintenanceResult `json:"result"`
	Message string                     `json:"message,omitempty"`
	// Damaged says that a check found the repository damaged.
	Damaged bool `json:"damaged,omitempty"`
	// Killed is whether restic was killed, usually because it ran out of memory.
	Killed bool `json:"killed,omitempty"`
}

// outcomeMessageMax bounds the message, in bytes. With the JSON around it, it fits into the 4096 bytes of a termination
// message (Kubernetes v1.36, pkg/kubelet/container, MaxContainerTerminationMessageLength), its quotes escaped.
const outcomeMessageMax = 1900

// Maintain carries the operation out. Its outcome is for people and for the leader: there is no other error.
func (m *Mover) Maintain(ctx context.Context, request MaintainRequest) MaintainOutcome {
	var message string
	err := m.withSession(ctx, request.Repository, func(repository *session.Session) (err error) {
		message, err = m.maintain(ctx, repository, request)
		return err
	})
	outcome := MaintainOutcome{Result: resticv1.MaintenanceSucceeded, Message: message}
	if err != nil {
		outcome.Result = resticv1.MaintenanceFailed
		if errors.Is(err, restic.ErrLocked) {
			outcome.Result = resticv1.MaintenanceLocked
		}
		outcome.Damaged, outcome.Killed = errors.Is(err, restic.ErrDamaged), errors.Is(err, restic.ErrKilled)
		if message == "" {
			outcome.Message = err.Error()
		}
	}
	if len(outcome.Message) > outcomeMessageMax {
		outcome.Message = strings.ToValidUTF8(outcome.Message[:outcomeMessageMax], "") + "…"
	}
	return outcome
}

func (m *Mover) maintain(
	ctx context.Context, repository *session.Session, request MaintainRequest,
) (message string, err error) {
	writes := request.Operation == resticv1.OperationPrune || request.Operation == resticv1.OperationUnlock
	if repository.ReadOnly && writes {
		return "", &session.NotUsableError{Message: fmt.Sprintf("BackupStorageLocation %s is read-only: set its "+
			"accessMode to ReadWrite first", request.Repository.Location)}
	}
	switch request.Operation {
	case resticv1.OperationCheck:
		result, err := repository.Check(ctx, request.Check)
		return checkMessage(request.Check, result, err), err
	case resticv1.OperationPrune:
		result, err := repository.Prune(ctx, request.Prune)
		if err != nil {
			return "", err
		}
		return pruneMessage(result), nil
	case resticv1.OperationUnlock:
		return m.unlock(ctx, repository, request.Host)
	case resticv1.OperationSnapshots:
		return list(ctx, repository, request.List)
	}
	return "", fmt.Errorf("there is no operation %q", request.Operation)
}

func checkMessage(options restic.CheckOptions, result restic.CheckResult, err error) string {
	switch {
	case errors.Is(err, restic.ErrDamaged):
		return damageMessage(result)
	case err != nil:
		return ""
	case options.Parts == 0:
		return "no errors in the structure; no data was read"
	case options.Parts == 1:
		return "no errors in the structure and in all data"
	}
	return fmt.Sprintf("no errors in the structure and in part %d of %d of the data", options.Part, options.Parts)
}

// shownPacks is how many broken packs a message names.
const shownPacks = 5

func damageMessage(result restic.CheckResult) string {
	parts := []string{fmt.Sprintf("the repository is damaged, %d errors", result.Errors)}
	if packs := result.BrokenPacks; len(packs) > 0 {
		parts = append(parts, fmt.Sprintf("%d broken packs: %s", len(packs),
			strings.Join(packs[:min(len(packs), shownPacks)], " ")))
	}
	if result.SuggestRepairIndex {
		parts = append(parts, "restic suggests `repair index`")
	}
	parts = append(parts, "what to do is in docs/maintenance.md, \"A damaged repository\"")
	if problems := result.Problems.First; len(problems) > 0 {
		parts = append(parts, "restic says: "+strings.Join(problems, "; "))
	}
	return strings.Join(parts, "; ")
}

func pruneMessage(result restic.PruneResult) string {
	if result.Freed == "" {
		return "pruned"
	}
	return "freed " + result.Freed
}

// unlock removes the locks of a host whose name this process has been given, so that restic's own rule takes the
// processes of that host for what they are: dead. Locks of any other host stay, unless they are stale by age.
func (m *Mover) unlock(ctx context.Context, repository *session.Session, host string) (string, error) {
	if host != "" && (host != m.Host || m.SharedHost) {
		return "", fmt.Errorf("the host name is %s, not %s: locks of that host cannot be told from those of the "+
			"living (does DaemonSet restic use the network of the node?)", m.Host, host)
	}
	before, err := repository.Locks(ctx)
	if err != nil {
		return "", err
	}
	if _, err := m.removeStale(ctx, repository); err != nil {
		return "", err
	}
	after, err := repository.Locks(ctx)
	if err != nil {
		return "", err
	}
	message := fmt.Sprintf("removed %d abandoned locks", max(len(before)-len(after), 0))
	if len(after) == 0 {
		return message + ", none is left", nil
	}
	for _, lock := range after {
		message += fmt.Sprintf("; left: host %s, process %d, as of %s", lock.Hostname, lock.PID,
			lock.Time.UTC().Format(time.RFC3339))
	}
	return message, nil
}

// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package inventory

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/coverage"
)

// attempt is one finished backup of a claim. There may be a month of them for each claim, so it is small.
type attempt struct {
	id       [16]byte // identifies the PodVolumeBackup
	run      *run
	ended    int64 // Unix time in seconds
	bytes    int64
	duration time.Duration
	failed   bool
	message  string // of a failed one
}

// run is the Velero Backup of attempts, as named in their labels. The attempts of a Backup share it, to save memory.
type run struct {
	backup   backupKey
	attempts int
}

// backupKey identifies a Backup as in labels.
type backupKey struct{ name, uid string }

// maxMessageBytes limits the length of a failure's message in memory.
const maxMessageBytes = 300

// history has the finished backups of each claim, by the claim's UID. It is an index.
type history struct {
	attempts map[string][]attempt
	runs     map[backupKey]*run
	backups  backups
}

func newHistory() *history {
	return &history{attempts: map[string][]attempt{}, runs: map[backupKey]*run{}, backups: backups{}}
}

// stripBackup removes what attempt does not need.
func stripBackup(b *resticv1.PodVolumeBackup) {
	status := b.Status
	kept := resticv1.PodVolumeBackup{}
	kept.Name, kept.UID, kept.DeletionTimestamp = b.Name, b.UID, b.DeletionTimestamp
	kept.Spec.Forget = b.Spec.Forget
	if uid := b.Labels[contract.LabelPVCUID]; uid != "" {
		kept.Labels = map[string]string{
			contract.LabelPVCUID:     uid,
			contract.LabelBackupName: b.Labels[contract.LabelBackupName],
			contract.LabelBackupUID:  b.Labels[contract.LabelBackupUID],
		}
	}
	kept.Status.Phase, kept.Status.StartTimestamp = status.Phase, status.StartTimestamp
	kept.Status.CompletionTimestamp = status.CompletionTimestamp
	kept.Status.Progress = status.Progress
	if status.Summary != nil {
		kept.Status.Progress.TotalBytes = status.Summary.BytesProcessed
	}
	if status.Phase != resticv1.PhaseCompleted {
		kept.Status.Message = strings.Clone(strings.ToValidUTF8(
			status.Message[:min(len(status.Message), maxMessageBytes)], ""))
	}
	*b = kept
}

// attemptID returns the claim's UID and the ID of the attempt.
func attemptID(b *resticv1.PodVolumeBackup) (claim string, id [16]byte) {
	sum := sha256.Sum256([]byte(b.UID))
	copy(id[:], sum[:])
	return b.Labels[contract.LabelPVCUID], id
}

// readAttempt returns the attempt without its run. ended is false for a PodVolumeBackup that has not ended, that was
// skipped, or whose snapshot will be forgotten.
func readAttempt(b *resticv1.PodVolumeBackup) (a attempt, ended bool) {
	_, a.id = attemptID(b)
	end := b.Status.CompletionTimestamp
	if end == nil || b.Spec.Forget || b.DeletionTimestamp != nil {
		return a, false
	}
	a.ended = end.Unix()
	if begin := b.Status.StartTimestamp; begin != nil {
		a.duration = end.Sub(begin.Time)
	}
	switch b.Status.Phase {
	case resticv1.PhaseCompleted:
		a.bytes = b.Status.Progress.TotalBytes
	case resticv1.PhaseFailed, resticv1.PhaseCanceled:
		a.failed, a.message = true, b.Status.Message
	case resticv1.PhaseNew, resticv1.PhaseInProgress, resticv1.PhaseSkipped:
		return a, false
	default:
		return a, false
	}
	return a, true
}

func (h *history) drop(claim string, id [16]byte) {
	left := slices.DeleteFunc(h.attempts[claim], func(a attempt) bool {
		if a.id != id {
			return false
		}
		a.run.attempts--
		if a.run.attempts == 0 {
			delete(h.runs, a.run.backup)
		}
		return true
	})
	if len(left) == 0 {
		delete(h.attempts, claim)
		return
	}
	h.attempts[claim] = left
}

// runOf returns the run of a PodVolumeBackup, with one more attempt.
func (h *history) runOf(b *resticv1.PodVolumeBackup) *run {
	named := backupKey{b.Labels[contract.LabelBackupName], b.Labels[contract.LabelBackupUID]}
	r := h.runs[named]
	if r == nil {
		r = &run{backup: backupKey{strings.Clone(named.name), strings.Clone(named.uid)}}
		h.runs[r.backup] = r
	}
	r.attempts++
	return r
}

func (h *history) add(b *resticv1.PodVolumeBackup) {
	stripBackup(b)
	claim, id := attemptID(b)
	if claim == "" {
		return
	}
	h.drop(claim, id)
	if a, ended := readAttempt(b); ended {
		a.run = h.runOf(b)
		h.attempts[claim] = append(h.attempts[claim], a)
	}
}

// remove removes a PodVolumeBackup. Earlier ones of the claim count again.
func (h *history) remove(b *resticv1.PodVolumeBackup) { h.drop(attemptID(b)) }

func (h *history) clear() {
	clear(h.attempts)
	clear(h.runs)
}

// resultOf returns whether the attempts of a run can be restored. A Backup that Velero synced from the bucket has
// another UID than in the labels of its PodVolumeBackups: if no run has the right UID, the run with its name counts.
func (h *history) resultOf(r *run) backupResult {
	found, there := h.backups[r.backup.name]
	switch {
	case !there:
		return backupGone
	case found.uid == r.backup.uid:
		return found.result()
	case found.ended() && h.runs[backupKey{r.backup.name, found.uid}] == nil:
		return found.result()
	}
	return backupGone
}

// outcome returns the outcome of the backups of a claim.
func (h *history) outcome(claim string) coverage.Outcome {
	var out coverage.Outcome
	for _, a := range h.attempts[claim] {
		result := h.resultOf(a.run)
		if result == backupGone {
			continue
		}
		ended := time.Unix(a.ended, 0).UTC()
		message := a.message
		if result == backupFailed && !a.failed {
			message = fmt.Sprintf("restic backed up the volume, but Velero's Backup %s is %s, so it cannot be "+
				"restored: "+
				"see `velero backup describe %s`", a.run.backup.name, h.backups[a.run.backup.name].phase,
				a.run.backup.name)
		}
		switch {
		case (a.failed || result == backupFailed) && ended.After(out.Failure):
			out.Failure, out.Message = ended, message
		case !a.failed && result == backupUsable && ended.After(out.Success):
			out.Success, out.Bytes, out.Duration = ended, a.bytes, a.duration
		}
	}
	return out
}

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

// attempt is one backup of a claim that ended. There may be a month of them for each claim, so it is small.
type attempt struct {
	id       [16]byte // stands for the PodVolumeBackup
	run      *run
	ended    int64 // seconds since 1970
	bytes    int64
	duration time.Duration
	failed   bool
	message  string // only of one that failed
}

// run is the Velero Backup that attempts were made for, as their labels name it. The attempts of a Backup share one.
type run struct {
	backup   naming
	attempts int
}

// naming is how labels name a Backup.
type naming struct{ name, uid string }

// messageMax bounds what is kept of a failure's message, in bytes.
const messageMax = 300

// history holds how the backups of each claim went, by the claim's UID. It is the book of a ledger.
type history struct {
	attempts map[string][]attempt
	runs     map[naming]*run
	backups  backups
}

func newHistory() *history {
	return &history{attempts: map[string][]attempt{}, runs: map[naming]*run{}, backups: backups{}}
}

// stripBackup keeps what becomes an attempt.
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
			status.Message[:min(len(status.Message), messageMax)], ""))
	}
	*b = kept
}

// identify returns the claim's UID and what stands for the PodVolumeBackup.
func identify(b *resticv1.PodVolumeBackup) (claim string, id [16]byte) {
	sum := sha256.Sum256([]byte(b.UID))
	copy(id[:], sum[:])
	return b.Labels[contract.LabelPVCUID], id
}

// read returns the attempt, without its run; ended is false for one that goes on, that was not even tried, or whose
// snapshot is about to be forgotten.
func read(b *resticv1.PodVolumeBackup) (a attempt, ended bool) {
	_, a.id = identify(b)
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
		if a.run.attempts--; a.run.attempts == 0 {
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

// runOf returns the run that a PodVolumeBackup belongs to, with one attempt more.
func (h *history) runOf(b *resticv1.PodVolumeBackup) *run {
	named := naming{b.Labels[contract.LabelBackupName], b.Labels[contract.LabelBackupUID]}
	r := h.runs[named]
	if r == nil {
		r = &run{backup: naming{strings.Clone(named.name), strings.Clone(named.uid)}}
		h.runs[r.backup] = r
	}
	r.attempts++
	return r
}

func (h *history) enter(b *resticv1.PodVolumeBackup) {
	stripBackup(b)
	claim, id := identify(b)
	if claim == "" {
		return
	}
	h.drop(claim, id)
	if a, ended := read(b); ended {
		a.run = h.runOf(b)
		h.attempts[claim] = append(h.attempts[claim], a)
	}
}

// strike forgets a backup: what was before it counts again.
func (h *history) strike(b *resticv1.PodVolumeBackup) { h.drop(identify(b)) }

func (h *history) clear() {
	clear(h.attempts)
	clear(h.runs)
}

// worth says what the attempts of a run count for. A Backup that Velero has found in the bucket has another UID than
// its PodVolumeBackups say: where none has the right one, all of that name are its own.
func (h *history) worth(r *run) worth {
	found, there := h.backups[r.backup.name]
	switch {
	case !there:
		return gone
	case found.uid == r.backup.uid:
		return found.worth()
	case found.ended() && h.runs[naming{r.backup.name, found.uid}] == nil:
		return found.worth()
	}
	return gone
}

// outcome returns how the backups of a claim went.
func (h *history) outcome(claim string) coverage.Outcome {
	var out coverage.Outcome
	for _, a := range h.attempts[claim] {
		worth := h.worth(a.run)
		if worth == gone {
			continue
		}
		ended := time.Unix(a.ended, 0).UTC()
		message := a.message
		if worth == inVain && !a.failed {
			message = fmt.Sprintf("the volume was read, but Velero's Backup %s is %s, so that nothing of it can be "+
				"restored: see `velero backup describe %s`", a.run.backup.name, h.backups[a.run.backup.name].phase,
				a.run.backup.name)
		}
		switch {
		case (a.failed || worth == inVain) && ended.After(out.Failure):
			out.Failure, out.Message = ended, message
		case !a.failed && worth == counts && ended.After(out.Success):
			out.Success, out.Bytes, out.Duration = ended, a.bytes, a.duration
		}
	}
	return out
}

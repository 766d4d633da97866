// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package inventory

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/coverage"
)

// attempt is one backup of a claim that ended. There may be a month of them for each claim, so it is small.
type attempt struct {
	id       [16]byte // stands for the PodVolumeBackup
	ended    int64    // seconds since 1970
	bytes    int64
	duration time.Duration
	failed   bool
	message  string // only of one that failed
}

// messageMax bounds what is kept of a failure's message, in bytes.
const messageMax = 300

// history holds how the backups of each claim went, by the claim's UID. It is the store of a reflector.
type history struct {
	// mu is the inventory's.
	mu *sync.RWMutex
	// filled is called, with mu held, after the first list.
	filled   func()
	attempts map[string][]attempt
	synced   bool
}

// stripBackup keeps what becomes an attempt.
func stripBackup(b *resticv1.PodVolumeBackup) {
	status := b.Status
	kept := resticv1.PodVolumeBackup{}
	kept.Name, kept.UID = b.Name, b.UID
	if uid := b.Labels[contract.LabelPVCUID]; uid != "" {
		kept.Labels = map[string]string{contract.LabelPVCUID: uid}
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

// read returns the claim's UID and the attempt; ended is false for a backup of no claim, one that goes on, and one that
// was not even tried.
func read(b *resticv1.PodVolumeBackup) (claim string, a attempt, ended bool) {
	claim = b.Labels[contract.LabelPVCUID]
	sum := sha256.Sum256([]byte(b.UID))
	copy(a.id[:], sum[:])
	end := b.Status.CompletionTimestamp
	if claim == "" || end == nil {
		return claim, a, false
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
		return claim, a, false
	default:
		return claim, a, false
	}
	return claim, a, true
}

func (h *history) drop(claim string, id [16]byte) {
	left := slices.DeleteFunc(h.attempts[claim], func(a attempt) bool { return a.id == id })
	if len(left) == 0 {
		delete(h.attempts, claim)
		return
	}
	h.attempts[claim] = left
}

func (h *history) put(object any) error {
	backup, isOne := object.(*resticv1.PodVolumeBackup)
	if !isOne {
		return fmt.Errorf("reading a watch: %T is not what was asked for", object)
	}
	stripBackup(backup)
	claim, a, ended := read(backup)
	if claim == "" {
		return nil
	}
	h.drop(claim, a.id)
	if ended {
		h.attempts[claim] = append(h.attempts[claim], a)
	}
	return nil
}

// Add and the methods below make it a cache.ReflectorStore.
func (h *history) Add(object any) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.put(object)
}

// Update is like Add.
func (h *history) Update(object any) error { return h.Add(object) }

// Delete forgets a backup: what was before it counts again.
func (h *history) Delete(object any) error {
	backup, isOne := object.(*resticv1.PodVolumeBackup)
	if !isOne {
		return fmt.Errorf("reading a watch: %T is not what was asked for", object)
	}
	claim, a, _ := read(backup)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drop(claim, a.id)
	return nil
}

// Replace makes the list all that there is.
func (h *history) Replace(list []any, _ string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.attempts = map[string][]attempt{}
	for _, object := range list {
		if err := h.put(object); err != nil {
			return err
		}
	}
	h.synced = true
	h.filled()
	return nil
}

// Resync has nothing to do.
func (h *history) Resync() error { return nil }

// outcome returns how the backups of a claim went.
func (h *history) outcome(claim string) coverage.Outcome {
	var out coverage.Outcome
	for _, a := range h.attempts[claim] {
		ended := time.Unix(a.ended, 0).UTC()
		switch {
		case a.failed && ended.After(out.Failure):
			out.Failure, out.Message = ended, a.message
		case !a.failed && ended.After(out.Success):
			out.Success, out.Bytes, out.Duration = ended, a.bytes, a.duration
		}
	}
	return out
}

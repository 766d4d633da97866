// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package operation

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/vmware-tanzu/velero/pkg/plugin/velero"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
)

const (
	// descriptionMax bounds the description of an operation, in bytes. `velero backup describe` prints it on one line.
	descriptionMax = 1024
	// warningMax bounds the one warning of a volume in that description, in bytes.
	warningMax = 256
	// errorMax bounds the error of an operation, in bytes.
	errorMax = 4096
	// unitBytes is the unit of an operation's progress.
	unitBytes = "Bytes"
)

// line is the part of an operation's report that describes one custom resource.
type line struct {
	text    string // for the description
	problem string // why the volume's data is missing, empty if it is not
	open    bool   // the volume is not done
	volume  *Volume
}

// describe returns the line for a volume, from its status. Waiting is what the volume waits for, for a status that does
// not say it.
func describe(v *Volume, waiting string) line {
	status := v.Status
	out := line{volume: v, open: !v.done()}
	switch {
	case v.Skip != nil:
		out.text = fmt.Sprintf("%s: %s, %s", v.Name, resticv1.PhaseSkipped, v.Skip.Message)
	case status.Phase == resticv1.PhaseFailed || status.Phase == resticv1.PhaseCanceled:
		out.problem = fmt.Sprintf("volume %s: %s", v.Name, orElse(status.Message, "no reason was given"))
		out.text = fmt.Sprintf("%s: %s, %s", v.Name, status.Phase, orElse(status.Message, "no reason was given"))
	case status.Phase == resticv1.PhaseCompleted:
		out.text = fmt.Sprintf("%s: %s, %s", v.Name, status.Phase, size(status.Progress.BytesDone))
		if status.WarningCount > 0 {
			out.text += fmt.Sprintf(", %d warnings", status.WarningCount)
		}
		if len(status.Warnings) > 0 {
			out.text += ", the first: " + bounded(status.Warnings[0], warningMax)
		}
	case v.waiting():
		out.text = fmt.Sprintf("%s: %s", v.Name, orElse(status.Waiting(), "waiting: "+orElse(waiting, "for its agent")))
	default:
		out.text = fmt.Sprintf("%s: %s, %s of %s",
			v.Name, status.Phase, size(status.Progress.BytesDone), size(status.Progress.TotalBytes))
	}
	return out
}

// report combines the lines into the progress of the operation.
func report(id ID, lines []line) velero.OperationProgress {
	progress := velero.OperationProgress{Completed: true, OperationUnits: unitBytes}
	var texts, problems []string
	for _, l := range lines {
		progress.Completed = progress.Completed && !l.open
		texts = append(texts, l.text)
		if l.problem != "" {
			problems = append(problems, l.problem)
		}
		if l.volume != nil {
			count(&progress, l.volume)
		}
	}
	progress.Description = bounded(strings.Join(texts, "; "), descriptionMax)
	if len(problems) > 0 {
		progress.Err = bounded(fmt.Sprintf("volume data of pod %s/%s: %s",
			id.Namespace, id.Pod, strings.Join(problems, "; ")), errorMax)
	}
	if !progress.Completed {
		// Velero reads the error only when the operation is complete.
		progress.Err = ""
	}
	return progress
}

// count adds the bytes and times of a volume.
func count(progress *velero.OperationProgress, v *Volume) {
	done, total := v.Status.Progress.BytesDone, v.Status.Progress.TotalBytes
	if v.Status.Phase == resticv1.PhaseCompleted || total < done {
		total = done
	}
	progress.NCompleted += done
	progress.NTotal += total
	if start := timeOf(v.Status.StartTimestamp); start != nil &&
		(progress.Started.IsZero() || start.Before(progress.Started)) {
		progress.Started = *start
	}
	if updated := v.updated(); updated.After(progress.Updated) {
		progress.Updated = updated
	}
}

// size formats a number of bytes with binary units, such as 1.5 MiB.
func size(bytes int64) string {
	if bytes < 1024 {
		return fmt.Sprintf("%d B", bytes)
	}
	value, units := float64(bytes)/1024, "KMGTPE"
	for value >= 1024 && len(units) > 1 {
		value, units = value/1024, units[1:]
	}
	return fmt.Sprintf("%.1f %ciB", value, units[0])
}

// bounded shortens a text to at most this many bytes, at the end of a character.
func bounded(text string, bytes int) string {
	const more = " …"
	if len(text) <= bytes {
		return text
	}
	cut := bytes - len(more)
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + more
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

func timeOf(t *metav1.Time) *time.Time {
	if t == nil {
		return nil
	}
	return &t.Time
}

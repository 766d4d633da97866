// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package coverage

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/velero-restic/velero-plugin-for-restic/cli/command"
	"github.com/velero-restic/velero-plugin-for-restic/cli/display"
	"github.com/velero-restic/velero-plugin-for-restic/internal/coverage"
)

// Report has claims, and how many there are of each kind.
type Report struct {
	Claims  []coverage.State `json:"claims"`
	Summary Summary          `json:"summary"`
}

// Summary counts the claims of a report.
type Summary struct {
	Total       int `json:"total"`
	Protected   int `json:"protected"`
	Unprotected int `json:"unprotected"`
	Ignored     int `json:"ignored"`
	// Reasons count the claims that are not protected, and Methods those that are.
	Reasons map[coverage.Reason]int `json:"reasons,omitempty"`
	Methods map[coverage.Method]int `json:"methods,omitempty"`
}

// newReport returns the report on these claims.
func newReport(states []coverage.State) Report {
	s := Summary{Total: len(states), Reasons: map[coverage.Reason]int{}, Methods: map[coverage.Method]int{}}
	for _, state := range states {
		switch {
		case state.Protected:
			s.Protected++
			s.Methods[state.Method]++
		case state.Ignored():
			s.Ignored++
		default:
			s.Unprotected++
			s.Reasons[state.Reason]++
		}
	}
	if states == nil {
		states = []coverage.State{}
	}
	return Report{states, s}
}

// String returns the summary as one line.
func (s Summary) String() string {
	text := fmt.Sprintf("%d of %d claims protected", s.Protected, s.Total-s.Ignored)
	if len(s.Methods) > 1 || s.Methods[coverage.MethodRestic] != s.Protected {
		text += " (" + counts(s.Methods) + ")"
	}
	if s.Unprotected > 0 {
		text += fmt.Sprintf(", %d not: %s", s.Unprotected, counts(s.Reasons))
	}
	if s.Ignored > 0 {
		text += fmt.Sprintf("; %d ignored", s.Ignored)
	}
	return text
}

// counts lists the numbers, the largest first.
func counts[K ~string](numbers map[K]int) string {
	keys := make([]K, 0, len(numbers))
	for key := range numbers {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b K) int {
		return cmp.Or(cmp.Compare(numbers[b], numbers[a]), cmp.Compare(a, b))
	})
	texts := make([]string, 0, len(keys))
	for _, key := range keys {
		texts = append(texts, fmt.Sprintf("%d %s", numbers[key], key))
	}
	return strings.Join(texts, ", ")
}

// table returns the report as a table. A wide one has all columns.
func (r Report) table(now time.Time, wide bool) *command.Table {
	t := &command.Table{Header: []string{
		"namespace", "claim", "state", "reason", "method", "schedule", "last success", "size",
	}}
	if wide {
		t.Header = append(t.Header, "took", "pod", "volume", "message")
	}
	for _, state := range r.Claims {
		text, style := stateText(state)
		cells := []command.Cell{
			command.Text(state.Namespace), command.Text(state.Claim), command.Styled(style, text),
			command.Text(string(state.Reason)), command.Text(string(state.Method)), command.Text(state.Schedule),
			command.Text(ago(now, state.LastSuccess)), command.Text(size(state)),
		}
		if wide {
			cells = append(cells, command.Text(took(state)), command.Text(state.Pod), command.Text(state.Volume),
				command.Text(state.Message))
		}
		t.Add(cells...)
	}
	return t
}

func stateText(state coverage.State) (string, command.Style) {
	switch {
	case state.Protected:
		return "Protected", command.Good
	case state.Ignored():
		return "Ignored", command.Dim
	}
	return "Unprotected", command.Bad
}

func ago(now, then time.Time) string {
	if then.IsZero() {
		return ""
	}
	return duration.HumanDuration(now.Sub(then)) + " ago"
}

func size(state coverage.State) string {
	if state.LastSuccess.IsZero() {
		return ""
	}
	return display.Bytes(state.Bytes)
}

func took(state coverage.State) string {
	if state.LastSuccess.IsZero() {
		return ""
	}
	return duration.HumanDuration(state.Duration)
}

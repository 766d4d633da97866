// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package reference

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEventTypes compares the types of Events in the agent's code with the groups that the reasons are declared in. It
// sees the calls that name both by their constants.
func TestEventTypes(t *testing.T) {
	groups, err := constants(filepath.Join(Repository(t), "api", "v1", "event.go"), "Reason")
	if err != nil {
		t.Fatal(err)
	}
	declared := map[string]string{}
	for _, found := range groups {
		for _, c := range found.constants {
			switch {
			case strings.HasPrefix(found.doc, "Reasons of Events of type Normal."):
				declared[c.name] = "EventTypeNormal"
			case strings.HasPrefix(found.doc, "Reasons of Events of type Warning."):
				declared[c.name] = "EventTypeWarning"
			}
		}
	}
	calls := eventCalls(t, filepath.Join(Repository(t), "agent"))
	if len(calls) < 10 {
		t.Errorf("found %d calls that record Events, want at least 10", len(calls))
	}
	for _, call := range calls {
		if declared[call.reason] != call.eventType {
			t.Errorf("%s records %s with %s, and api/v1/event.go declares %q", call.position, call.reason, call.eventType,
				declared[call.reason])
		}
	}
}

// eventCall is a call of a recorder's method Event.
type eventCall struct {
	position          token.Position
	eventType, reason string
}

func eventCalls(t *testing.T, dir string) []eventCall {
	t.Helper()
	var calls []eventCall
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		files := token.NewFileSet()
		parsed, err := parser.ParseFile(files, filepath.Join(dir, path), nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(parsed, func(node ast.Node) bool {
			call, isCall := node.(*ast.CallExpr)
			if !isCall || len(call.Args) < 4 || selected(call.Fun) != "Event" {
				return true
			}
			eventType, reason := selected(call.Args[1]), selected(call.Args[2])
			if eventType != "" && reason != "" {
				calls = append(calls, eventCall{files.Position(call.Pos()), eventType, reason})
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return calls
}

// selected returns the name after the dot of an expression such as corev1.EventTypeNormal; empty for others.
func selected(expression ast.Expr) string {
	if selector, isSelector := expression.(*ast.SelectorExpr); isSelector {
		return selector.Sel.Name
	}
	return ""
}

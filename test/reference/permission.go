// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package reference

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// marker begins a comment line that grants a right.
const marker = "+kubebuilder:rbac:"

// permission is a right of the agents' account, as a marker beside the code grants it.
type permission struct {
	// dir is the directory of the package, in the repository.
	dir    string
	reason string
	fields map[string]string
}

// Permissions returns the page about the rights of the agents' account. The repository is its root directory.
func Permissions(repository string) (string, error) {
	var rows [][]string
	for _, source := range []string{"agent", "internal/inventory"} {
		found, err := permissions(repository, source)
		if err != nil {
			return "", err
		}
		for _, p := range found {
			rows = append(rows, p.row())
		}
	}
	slices.SortStableFunc(rows, func(a, b []string) int { return strings.Compare(a[0]+a[1]+a[2], b[0]+b[1]+b[2]) })
	return header("Permissions of the agents", "the markers "+marker+" beside the code",
		"What service account `velero-restic` may do, and which package needs it. `examples/base/rbac/role.yaml` is "+
			"generated from the same markers; the right to patch pods is in `examples/component/annotate`. With "+
			"`--coverage=false` the agents do not use the rights of `internal/inventory`.") +
		table([]string{"scope", "resources", "names", "verbs", "why", "package"}, rows), nil
}

func (p permission) row() []string {
	scope, resources := "cluster", strings.Split(p.fields["resources"], ";")
	if p.fields["namespace"] != "" {
		scope = "Velero's namespace"
	}
	if group := p.fields["groups"]; group != "" {
		for i, resource := range resources {
			name, sub, _ := strings.Cut(resource, "/")
			resources[i] = strings.TrimSuffix(name+"."+group+"/"+sub, "/")
		}
	}
	return []string{
		scope, codes(resources), codes(strings.Fields(strings.ReplaceAll(p.fields["resourceNames"], ";", " "))),
		strings.ReplaceAll(p.fields["verbs"], ";", ", "), sentence(p.reason), code(p.dir),
	}
}

// permissions returns what the markers in a directory and below it grant, in the order of files and lines. A marker
// must be in a comment that says why.
func permissions(repository, dir string) ([]permission, error) {
	var granted []permission
	err := fs.WalkDir(os.DirFS(repository), dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(repository, path), nil,
			parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		found, err := permissionsInFile(path, parsed)
		granted = append(granted, found...)
		return err
	})
	return granted, err
}

func permissionsInFile(path string, parsed *ast.File) ([]permission, error) {
	var granted []permission
	for _, found := range parsed.Comments {
		why, marks := split(found)
		if len(marks) > 0 && why == "" {
			return nil, fmt.Errorf("reading markers: %s: %s%s has no reason: write it above, in the same comment",
				path, marker, marks[0])
		}
		for _, fields := range marks {
			granted = append(granted, permission{dir: filepath.Dir(path), reason: why, fields: parseFields(fields)})
		}
	}
	return granted, nil
}

// split returns the text of a comment without its markers, and what follows each marker.
func split(comment *ast.CommentGroup) (text string, marks []string) {
	var lines []string
	for _, line := range comment.List {
		content := strings.TrimSpace(strings.TrimPrefix(line.Text, "//"))
		if fields, isMarker := strings.CutPrefix(content, marker); isMarker {
			marks = append(marks, fields)
			continue
		}
		lines = append(lines, content)
	}
	return strings.TrimSpace(strings.Join(lines, " ")), marks
}

// parseFields parses what follows a marker: key=value, with commas in between.
func parseFields(text string) map[string]string {
	fields := map[string]string{}
	for field := range strings.SplitSeq(text, ",") {
		key, value, _ := strings.Cut(field, "=")
		fields[key] = strings.Trim(value, `"`)
	}
	return fields
}

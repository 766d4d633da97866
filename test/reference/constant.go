// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package reference

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
)

// group is a declaration of string constants.
type group struct {
	// doc is the comment of the declaration; empty if it is the one of its only constant.
	doc       string
	constants []constant
}

// constant is a string constant. Its doc does not begin with its name.
type constant struct {
	name, value, doc string
}

// constants returns the declarations of string constants in a file of Go whose names have a prefix, in their order. It
// fails on such a constant without a comment.
func constants(file, prefix string) ([]group, error) {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		return nil, fmt.Errorf("reading constants: %w", err)
	}
	var groups []group
	for _, declaration := range parsed.Decls {
		declared, isGeneral := declaration.(*ast.GenDecl)
		if !isGeneral || declared.Tok != token.CONST {
			continue
		}
		found := group{doc: comment(declared.Doc)}
		for _, spec := range declared.Specs {
			c, isString := constantOf(spec)
			if !isString || !strings.HasPrefix(c.name, prefix) {
				continue
			}
			if !declared.Lparen.IsValid() {
				c.doc, found.doc = found.doc, ""
			}
			if err := c.trimName(); err != nil {
				return nil, fmt.Errorf("reading constants of %s: %w", file, err)
			}
			found.constants = append(found.constants, c)
		}
		if len(found.constants) > 0 {
			groups = append(groups, found)
		}
	}
	return groups, nil
}

// constantOf returns the constant of a spec, and false if it is not one string.
func constantOf(spec ast.Spec) (constant, bool) {
	value, isValue := spec.(*ast.ValueSpec)
	if !isValue || len(value.Names) != 1 || len(value.Values) != 1 {
		return constant{}, false
	}
	literal, isLiteral := value.Values[0].(*ast.BasicLit)
	if !isLiteral || literal.Kind != token.STRING {
		return constant{}, false
	}
	text, err := strconv.Unquote(literal.Value)
	return constant{name: value.Names[0].Name, value: text, doc: comment(value.Doc)}, err == nil
}

func comment(of *ast.CommentGroup) string {
	return strings.Join(strings.Fields(of.Text()), " ")
}

// trimName removes the constant's name from the beginning of its doc.
func (c *constant) trimName() error {
	rest, found := strings.CutPrefix(c.doc, c.name+": ")
	if !found {
		return fmt.Errorf("constant %s has no comment that begins with %q", c.name, c.name+": ")
	}
	c.doc = rest
	return nil
}

// table returns a table of the constants: value and meaning.
func (g group) table(value string) string {
	var rows [][]string
	for _, c := range g.constants {
		rows = append(rows, []string{code(c.value), sentence(c.doc)})
	}
	return table([]string{value, "meaning"}, rows)
}

//go:build linux

package e2e

import (
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// TestNames returns the names of the tests of all packages, including those behind build tags.
// The value is true if only make test-long runs the test.
func TestNames(t *testing.T) (long map[string]bool) {
	t.Helper()
	long = map[string]bool{}
	err := filepath.WalkDir(Repository, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution|parser.ParseComments)
		if err != nil {
			return err
		}
		isLong := needsLong(file)
		for _, one := range file.Decls {
			if function, ok := one.(*ast.FuncDecl); ok && strings.HasPrefix(function.Name.Name, "Test") {
				long[function.Name.Name] = isLong
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return long
}

// needsLong reports whether a file needs the build tag long.
func needsLong(file *ast.File) bool {
	for _, group := range file.Comments {
		for _, line := range group.List {
			if expression, err := constraint.Parse(line.Text); err == nil && group.Pos() < file.Package {
				return !expression.Eval(func(tag string) bool { return tag != "long" })
			}
		}
	}
	return false
}

// TableRow returns a row of a Markdown table.
func TableRow(cells ...string) string {
	for i, cell := range cells {
		cells[i] = strings.ReplaceAll(strings.ReplaceAll(cell, "|", `\|`), "\n", " ")
	}
	return "| " + strings.Join(cells, " | ") + " |\n"
}

package main

import (
	"io"
	"path/filepath"
	"testing"

	"github.com/rhysd/actionlint"
)

// The suite's workflows are valid by the rules of GitHub: an independent reader says so.
func TestWorkflowsAreValid(t *testing.T) {
	files, err := filepath.Glob("../testdata/workflows/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d workflows %v", len(files), err)
	}
	linter, err := actionlint.NewLinter(io.Discard, &actionlint.LinterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	problems, err := linter.LintFiles(files, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range problems {
		t.Error(one)
	}
}

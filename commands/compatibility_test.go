//go:build linux

package commands

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/runnerctl/runnerctl/internal/golden"
)

// outcome is the result of an input of docs/compatibility.md.
type outcome string

const (
	outcomePasses  outcome = "passes"
	outcomeRefused outcome = "refused" // with a message that names the way round
	outcomeOfHost  outcome = "host's business"
)

// input is one line of docs/compatibility.md: something that real workflows or hosts do,
// reduced to the least that once failed. Script shows it, or the Go test named in Test.
type input struct {
	ID     string // of the subtest TestInputs/ID; unique
	Group  string // heading on the page
	Input  string // as a user would write it
	Result outcome
	Note   string // the reason for a refusal, or a limit that remains
	// Script is run by bash -eu as the user runner in a runner. It ends with code 0 if the
	// line holds. It may call busybox_image, which makes the image bb.
	Script string
	Fresh  bool   // needs a runner of its own: the script changes the machine for later ones
	Long   bool   // takes more than ten seconds: runs with the build tag long
	Test   string // name of a Go test that shows the line instead
}

// inputs returns all lines of the page, in the page's order.
func inputs() []input {
	return slices.Concat(jobInputs, workflowInputs, machineInputs, worldInputs, containerInputs, podmanInputs, idInputs, staticInputs(), brokenInputs, hostInputs, hostKeyInputs(), agentInputs)
}

// inputPrelude holds functions for every Script. It needs no registry: the image is made of
// the package busybox-static.
const inputPrelude = `
busybox_image() {
	docker image inspect bb >/dev/null 2>&1 && return
	command -v busybox >/dev/null || { sudo apt-get update -qq && sudo apt-get install -y -qq busybox-static >/dev/null; }
	local made
	made=$(mktemp -d)
	mkdir -p "$made"/{bin,etc,tmp,root,proc,sys,dev}
	cp "$(command -v busybox)" "$made/bin/busybox"
	for tool in $(busybox --list); do [ "$tool" = busybox ] || ln -s busybox "$made/bin/$tool"; done
	echo root:x:0:0:root:/root:/bin/sh >"$made/etc/passwd"
	tar -c -C "$made" . | docker import --change 'CMD ["sh"]' - bb >/dev/null
	rm -rf "$made"
}
# within SECONDS COMMAND… fails where the command takes longer.
within() { timeout --kill-after 1 "$@"; }
# expect TEXT COMMAND… fails where the output does not hold the text.
expect() {
	local want=$1 got
	shift
	got=$("$@" 2>&1) || { echo "$* failed with code $?: $got" >&2; return 1; }
	[[ $got == *"$want"* ]] || { echo "$*: got $got, want $want" >&2; return 1; }
}
`

// Each input with a Script holds in a real runner.
func TestInputs(t *testing.T) { showInputs(t, defaultBase) }

const defaultBase = "debian:trixie-slim"

func showInputs(t *testing.T, base string) {
	api := realEngine(t)
	start := func(t *testing.T) (runner string) {
		t.Helper()
		name := newFleet(t, api)
		write(t, "runnerctl.yaml", "image: {base: "+base+"}\n")
		must(t, up(name)...)
		return list(t, name)[0].Name
	}
	shared := start(t)
	for _, one := range inputs() {
		if one.Script == "" || one.Long && !thorough {
			continue
		}
		t.Run(one.ID, func(t *testing.T) {
			runner := shared
			if one.Fresh {
				runner = start(t)
			}
			if code, stdout, stderr := runnerctl(t.Context(), "exec", runner, "--", "bash", "-euc", inputPrelude+one.Script); code != 0 {
				t.Errorf("exit code %d, want 0; stdout:\n%s\nstderr:\n%s", code, stdout, stderr)
			}
		})
	}
}

// docs/compatibility.md is generated from the inputs that the tests show.
func TestCompatibilityPage(t *testing.T) {
	tests := testNames(t)
	var text strings.Builder
	text.WriteString("# Compatibility\n\nInputs of real workflows and real hosts, each reduced to a minimal case that once failed, and their outcome in a runner with the default base image (`debian:trixie-slim`).\n" +
		"A test on a real engine shows each line: `TestInputs/ID`, or the named test. `make test-long` runs the tests marked \"long\".\n" +
		"The column sid has the outcome with Debian's newest packages (Docker 28.5 in the last run), shown by `TestInputsOnSid` of `make test-long`; it is – if another test shows the line, with trixie only. (Written by a test; `make golden` rewrites it.)\n")
	var groups []string
	rows, seen := map[string]string{}, map[string]bool{}
	for _, one := range inputs() {
		switch {
		case seen[one.ID]:
			t.Errorf("two inputs are called %s", one.ID)
		case (one.Script == "") == (one.Test == ""):
			t.Errorf("%s: either a script or a test shows it", one.ID)
		case one.Test != "" && !tests[one.Test]:
			t.Errorf("%s: there is no test %s", one.ID, one.Test)
		case one.Result != outcomePasses && one.Note == "":
			t.Errorf("%s: %s, and no reason", one.ID, one.Result)
		}
		seen[one.ID] = true
		if rows[one.Group] == "" {
			groups = append(groups, one.Group)
		}
		shown := "`" + one.ID + "`"
		if one.Long {
			shown += ", long"
		}
		if one.Test != "" {
			shown = "`" + one.Test + "`"
		}
		onSid := "–"
		if one.Script != "" {
			onSid = string(one.Result)
		}
		rows[one.Group] += row("`"+one.Input+"`", string(one.Result), onSid, one.Note, shown)
	}
	for _, group := range groups {
		fmt.Fprintf(&text, "\n## %s\n\n| input | outcome | sid | note | shown by |\n|---|---|---|---|---|\n%s", group, rows[group])
	}
	golden.Check(t, "../docs/compatibility.md", []byte(text.String()))
}

// testNames returns the tests of all packages, including those behind build tags.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	var files []string
	for _, folder := range []string{".", "../*", "../internal/*"} {
		found, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range file.Decls {
			if function, ok := one.(*ast.FuncDecl); ok && strings.HasPrefix(function.Name.Name, "Test") {
				names[function.Name.Name] = true
			}
		}
	}
	return names
}

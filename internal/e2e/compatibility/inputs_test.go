//go:build linux

package compatibility

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/runnerctl/runnerctl/internal/e2e"
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
	return slices.Concat(jobInputs, workflowInputs, machineInputs, rootfsInputs, containerInputs, podmanInputs, idInputs, staticInputs(), brokenInputs, hostInputs, hostKeyInputs(), agentInputs)
}

// Each input with a Script holds in a real runner.
func TestInputs(t *testing.T) { showInputs(t, defaultBase) }

const defaultBase = "debian:trixie-slim"

func showInputs(t *testing.T, base string) {
	api := e2e.Engine(t)
	start := func(t *testing.T) (runner string) {
		t.Helper()
		name := e2e.NewFleet(t, api)
		e2e.WriteFile(t, "runnerctl.yaml", "image: {base: "+base+"}\n")
		e2e.Must(t, e2e.Up(name)...)
		return e2e.List(t, name)[0].Name
	}
	shared := start(t)
	for _, one := range inputs() {
		if one.Script == "" || one.Long && !e2e.Thorough {
			continue
		}
		t.Run(one.ID, func(t *testing.T) {
			runner := shared
			if one.Fresh {
				runner = start(t)
			}
			if code, stdout, stderr := e2e.Runnerctl(t.Context(), "exec", runner, "--", "bash", "-euc", e2e.Prelude+one.Script); code != 0 {
				t.Errorf("exit code %d, want 0; stdout:\n%s\nstderr:\n%s", code, stdout, stderr)
			}
		})
	}
}

// docs/compatibility.md is generated from the inputs that the tests show.
func TestCompatibilityPage(t *testing.T) {
	long := e2e.TestNames(t)
	var text strings.Builder
	text.WriteString("# Compatibility\n\nInputs of real workflows and real hosts, each reduced to a minimal case that once failed, and their outcome in a runner with the default base image (`debian:trixie-slim`).\n" +
		"A test on a real engine shows each line: `TestInputs/ID`, or the named test. `make test-long` runs the tests marked \"long\".\n" +
		"The column sid has the outcome with Debian's newest packages (Docker 28.5 in the last run), shown by `TestInputsOnSid` of `make test-long`; it is – if another test shows the line, with trixie only. (Written by a test; `make golden` rewrites it.)\n")
	var groups []string
	rows, seen := map[string]string{}, map[string]bool{}
	for _, one := range inputs() {
		_, tested := long[one.Test]
		switch {
		case seen[one.ID]:
			t.Errorf("two inputs are called %s", one.ID)
		case (one.Script == "") == (one.Test == ""):
			t.Errorf("%s: either a script or a test shows it", one.ID)
		case one.Test != "" && !tested:
			t.Errorf("%s: there is no test %s", one.ID, one.Test)
		case one.Result != outcomePasses && one.Note == "":
			t.Errorf("%s: %s, and no reason", one.ID, one.Result)
		}
		seen[one.ID] = true
		if rows[one.Group] == "" {
			groups = append(groups, one.Group)
		}
		shown := "`" + cmp.Or(one.Test, one.ID) + "`"
		if one.Long || long[one.Test] {
			shown += ", long"
		}
		onSid := "–"
		if one.Script != "" {
			onSid = string(one.Result)
		}
		rows[one.Group] += e2e.TableRow("`"+one.Input+"`", string(one.Result), onSid, one.Note, shown)
	}
	for _, group := range groups {
		fmt.Fprintf(&text, "\n## %s\n\n| input | outcome | sid | note | shown by |\n|---|---|---|---|---|\n%s", group, rows[group])
	}
	golden.Check(t, e2e.InRepository("docs/compatibility.md"), []byte(text.String()))
}

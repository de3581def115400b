package doctor

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/runnerctl/runnerctl/internal/golden"
)

// The page of all checks is the catalogue's: -update writes it.
func TestPage(t *testing.T) {
	var page bytes.Buffer
	page.WriteString(`# What doctor checks

` + "`runnerctl doctor`" + ` looks at the machine that the engine runs on, which need not be this one: for an engine elsewhere it starts a small container there, without privilege, that reads the files in question and is removed.
Checks run at the same time. A required one that fails makes it exit with 1, and ` + "`up`" + ` refuses; advice only warns. What can't be known is skipped, with the reason.

    runnerctl doctor userns devices.tun    # some checks, or all whose ids begin so
    runnerctl doctor --ignore host.machine # take what it finds for a warning
    runnerctl doctor --offline             # ask nothing beyond the engine's machine
    runnerctl doctor --fix-script          # a shell script for root of what can be mended
    runnerctl doctor --image NAME          # judge an image, anybody's, in place of the machine
    runnerctl doctor --list                # this list
    runnerctl doctor --deep                # then a real runner shows what a job needs, step by step, and tries to get out

What --deep proves: a user namespace, the daemon in it, docker run, DNS and the way out (a warning where there is none), a build, a published port on localhost, large packets to a neighbour, the storage driver, sudo and the
package manager, --privileged inside, a job in a container with the daemon's socket, and that the attempts of [escape.md](escape.md) are blocked. The first step that fails is explained where its error is a known one
([faults.md](faults.md)); those after it stand on it and are skipped. What it started is removed, on Ctrl-C too.

(Written by a test from the catalogue; ` + "`make golden`" + ` writes it anew.)
`)
	group := ""
	for _, check := range every() {
		if check.Group != group {
			group = check.Group
			fmt.Fprintf(&page, "\n## %s\n\n| id | check | | reason |\n|---|---|---|---|\n", group)
		}
		fmt.Fprintf(&page, "| `%s` | %s | %s | %s |\n", check.ID, check.Title, check.Severity, strings.ReplaceAll(check.Why, "|", `\|`))
	}
	golden.Check(t, "../../docs/doctor.md", page.Bytes())
}

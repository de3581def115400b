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
	page.WriteString(`# Checks of doctor

` + "`runnerctl doctor`" + ` checks the machine of the engine, which may be another host: for a remote engine, it starts a small unprivileged container there, which reads the relevant files and is then removed.
Checks run in parallel. If a required check fails, doctor exits with 1 and ` + "`up`" + ` refuses to start; advice only warns. Checks without the necessary data are skipped, with the reason.

    runnerctl doctor userns devices.tun    # only these checks; an ID may be a prefix
    runnerctl doctor --ignore host.machine # report its failure as a warning
    runnerctl doctor --offline             # connect only to the engine's machine
    runnerctl doctor --fix-script          # print the automatic fixes as a shell script for root
    runnerctl doctor --image NAME          # check any image instead of the machine
    runnerctl doctor --list                # print this list
    runnerctl doctor --deep                # also start test runners, exercise the features that jobs need, and attempt to escape

--deep shows that these work: a user namespace, the daemon in it, docker run, DNS and outbound connections (a warning if there are none), a build, a published port on localhost, large packets to another container, the storage driver, sudo and the
package manager, --privileged inside, a job in a container with the daemon's socket. It also shows that the attempts of [escape.md](escape.md) are blocked. The first step that fails is explained if its error is known
([faults.md](faults.md)); the following steps depend on it and are skipped. All test runners are removed at the end, also on Ctrl-C.

(Written by a test from the catalogue; ` + "`make golden`" + ` rewrites it.)
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

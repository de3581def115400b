package doctor

import (
	"fmt"
	"io"
	"strings"
)

// Style colours words; the caller knows whether there is colour. Narrow puts
// what was observed below the check's id.
type Style struct {
	OK, Fail, Warn, Dim func(string) string
	Narrow              bool
}

// WriteText prints the report by groups, with what to paste at its end.
func WriteText(w io.Writer, report Report, style Style) {
	group := ""
	var commands []string
	widest := 0
	for _, result := range report.Checks {
		widest = max(widest, len(result.ID))
	}
	indent, between := strings.Repeat(" ", widest+6), "  "
	if style.Narrow {
		indent, between, widest = "    ", "\n    ", 0
	}
	for _, result := range report.Checks {
		if result.Group != group {
			group = result.Group
			fmt.Fprintln(w, group)
		}
		fmt.Fprintf(w, "  %s %-*s%s%s\n", mark(result.Status, style), widest, result.ID, between, result.Observed)
		if result.Status != Fail && result.Status != Warn {
			continue
		}
		fmt.Fprintf(w, "%s%s  %s\n", indent, style.Dim("why"), result.Why)
		if len(result.Remedy.Commands) == 0 {
			fmt.Fprintf(w, "%s%s  %s\n", indent, style.Dim("fix"), result.Remedy.Text)
		}
		for _, command := range result.Remedy.Commands {
			fmt.Fprintf(w, "%s%s  %s\n", indent, style.Dim("fix"), command)
		}
		commands = append(commands, result.Remedy.Commands...)
	}
	counts := report.Counts()
	var parts []string
	for _, one := range []struct {
		status Status
		word   string
	}{{Fail, "failed"}, {Crash, "crashed"}, {Warn, "warned"}, {Pass, "passed"}, {Skip, "skipped"}} {
		if counts[one.status] > 0 || one.status == Pass {
			parts = append(parts, fmt.Sprintf("%d %s", counts[one.status], one.word))
		}
	}
	fmt.Fprintln(w, strings.Join(parts, " · "))
	if len(commands) > 0 {
		fmt.Fprintln(w, "Paste as root:")
		for _, command := range commands {
			fmt.Fprintln(w, "    "+command)
		}
	}
}

func mark(status Status, style Style) string {
	switch status {
	case Pass:
		return style.OK("✔")
	case Warn:
		return style.Warn("⚠")
	case Skip:
		return style.Dim("–")
	}
	return style.Fail("✘")
}

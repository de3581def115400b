package doctor

import (
	"fmt"
	"io"
	"strings"
)

// Style colors words; the caller decides whether there is color. Narrow puts observations
// below the check's id.
type Style struct {
	OK, Fail, Warn, Dim, Bold func(string) string
	Narrow                    bool
	Machine                   string // machine on which to paste the commands; "" for this one
}

// WriteText prints the report by groups, and the commands to paste at its end.
func WriteText(w io.Writer, report Report, style Style) {
	group, widest := "", 0
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
			fmt.Fprintln(w, style.Bold(group))
		}
		observed := result.Observed
		if result.Status == Skip {
			observed = style.Dim("skipped: " + observed)
		}
		fmt.Fprintf(w, "  %s %-*s%s%s\n", mark(result.Status, style), widest, result.ID, between, observed)
		if result.Status == Crash {
			fmt.Fprintf(w, "%s%s  %s\n", indent, style.Dim("why"), "the check itself failed; the others continued")
		}
		if result.Status != Fail && result.Status != Warn {
			continue
		}
		fmt.Fprintf(w, "%s%s  %s\n", indent, style.Dim("why"), result.Why)
		if result.Remedy.Text != "" {
			fmt.Fprintf(w, "%s%s  %s\n", indent, style.Dim("fix"), result.Remedy.Text)
		}
		for _, command := range result.Remedy.Commands {
			fmt.Fprintf(w, "%s     %s\n", indent, command)
		}
	}
	fmt.Fprintln(w, report.summary())
	fixes := report.fixes()
	if len(fixes) == 0 {
		return
	}
	where := ""
	if style.Machine != "" {
		where = " on " + style.Machine
	}
	fmt.Fprintf(w, "Paste as root%s:\n", where)
	for _, fix := range fixes {
		for _, command := range fix.Commands() {
			fmt.Fprintln(w, "    "+command)
		}
	}
}

// summary returns the counts, like "1 failed · 33 passed · 0.6s".
func (r Report) summary() string {
	counts := r.Counts()
	var parts []string
	for _, one := range []struct {
		status     Status
		word, many string
	}{{Fail, "failed", "failed"}, {Crash, "crashed", "crashed"}, {Warn, "warning", "warnings"}, {Pass, "passed", "passed"}, {Skip, "skipped", "skipped"}} {
		word := one.word
		if counts[one.status] != 1 {
			word = one.many
		}
		if counts[one.status] > 0 || one.status == Pass {
			parts = append(parts, fmt.Sprintf("%d %s", counts[one.status], word))
		}
	}
	if r.Took > 0 {
		parts = append(parts, fmt.Sprintf("%.1fs", r.Took.Seconds()))
	}
	return strings.Join(parts, " · ")
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

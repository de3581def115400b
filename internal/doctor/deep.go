package doctor

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Step is one thing that a real runner was made to do. The JSON form is public.
type Step struct {
	ID       string  `json:"id"`
	Title    string  `json:"title"`
	Status   Status  `json:"status"` // pass, warn, fail or skip
	Seconds  float64 `json:"seconds"`
	Observed string  `json:"observed"`
	Error    string  `json:"error"` // the raw text of what failed, log lines too
	Known    *Known  `json:"known"` // what Error means; null where it is not known
}

// Deep is what a throw-away runner proved. The JSON form is public.
type Deep struct {
	Image    string    `json:"image"`
	Steps    []Step    `json:"steps"`
	Attempts []Attempt `json:"attempts"` // to escape
	Reason   string    `json:"reason"`   // why it was not tried, or came to no end; "" where it did
}

// NotTried is a runner that was not started.
func NotTried(reason string) Deep {
	return Deep{Steps: []Step{Skipped("runner", "not tried", reason)}, Attempts: []Attempt{}, Reason: reason}
}

// Failed tells whether a step failed or an attempt escaped.
func (d Deep) Failed() bool {
	for _, step := range d.Steps {
		if step.Status == Fail {
			return true
		}
	}
	return false
}

// Skipped is a step that was not tried.
func Skipped(id, title, reason string) Step {
	return Step{ID: id, Title: title, Status: Skip, Observed: reason}
}

// FailedStep explains raw, as far as it is known.
func FailedStep(id, title, raw string, took time.Duration) Step {
	raw = strings.TrimSpace(raw)
	step := Step{ID: id, Title: title, Status: Fail, Seconds: took.Seconds(), Error: raw, Known: Explain(raw)}
	step.Observed, _, _ = strings.Cut(raw, "\n")
	return step
}

// WriteStep prints one step, and of a failed one why and what to do.
func WriteStep(w io.Writer, step Step, style Style) {
	took := ""
	if step.Status != Skip {
		took = fmt.Sprintf("%.1fs", step.Seconds)
	}
	fmt.Fprintf(w, "  %s %6s  %s", mark(step.Status, style), took, step.Title)
	if step.Observed != "" {
		fmt.Fprintf(w, "  %s", style.Dim(step.Observed))
	}
	fmt.Fprintln(w)
	if step.Status != Fail {
		return
	}
	const indent = "            "
	if step.Known == nil {
		for line := range strings.Lines(step.Error) {
			fmt.Fprintf(w, "%s%s\n", indent, strings.TrimRight(line, "\n"))
		}
		return
	}
	fmt.Fprintf(w, "%s%s  %s\n", indent, style.Dim("why"), step.Known.Cause)
	fmt.Fprintf(w, "%s%s  %s\n", indent, style.Dim("fix"), step.Known.Cure)
}

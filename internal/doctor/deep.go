package doctor

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Step is one task that a real runner had to do. The JSON form is public.
type Step struct {
	ID       string  `json:"id"`
	Title    string  `json:"title"`
	Status   Status  `json:"status"` // pass, warn, fail or skip
	Seconds  float64 `json:"seconds"`
	Observed string  `json:"observed"`
	Error    string  `json:"error"` // raw text of the failure, log lines too
	Known    *Known  `json:"known"` // meaning of Error; null if it is not known
}

// Deep is the result of testing a throw-away runner. The JSON form is public.
type Deep struct {
	Image    string    `json:"image"`
	Steps    []Step    `json:"steps"`
	Attempts []Attempt `json:"attempts"` // attempts to escape
	Reason   string    `json:"reason"`   // why it was not tried or not finished; "" if it was
}

// NotTried returns the result for a runner that was not started.
func NotTried(reason string) Deep {
	return Deep{Steps: []Step{Skipped("runner", "not tried", reason)}, Attempts: []Attempt{}, Reason: reason}
}

// Failed reports whether a step failed. If an attempt escaped, the step of the attempts fails.
func (d Deep) Failed() bool {
	for _, step := range d.Steps {
		if step.Status == Fail {
			return true
		}
	}
	return false
}

// Skipped returns a step that was not tried.
func Skipped(id, title, reason string) Step {
	return Step{ID: id, Title: title, Status: Skip, Observed: reason}
}

// FailedStep returns a failed step, and explains raw if it is a known error.
func FailedStep(id, title, raw string, took time.Duration) Step {
	raw = strings.TrimSpace(raw)
	step := Step{ID: id, Title: title, Status: Fail, Seconds: took.Seconds(), Error: raw, Known: Explain(raw)}
	step.Observed, _, _ = strings.Cut(raw, "\n")
	return step
}

// WriteStep prints one step, and for a failed one the cause and the cure, or the raw error.
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

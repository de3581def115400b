package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Verdict of an attempt to escape.
type Verdict string

// The verdicts. What could not be tried is never blocked.
const (
	Blocked      Verdict = "blocked"
	Escaped      Verdict = "escaped"
	NotAttempted Verdict = "not attempted"
)

// Attempt is one try to get out of a runner. The JSON form is public.
type Attempt struct {
	ID      string  `json:"id"`
	As      string  `json:"as"` // runner, root, container or privileged
	Title   string  `json:"title"`
	Meaning string  `json:"meaning"` // what it would mean if it worked
	Verdict Verdict `json:"verdict"`
	Reason  string  `json:"reason"` // what stood in the way or was got, or why it was not tried
}

// ReadAttempts reads what scripts/escape/battery prints: a line for each attempt,
// of id, verdict, reason, title and meaning with tabs between.
func ReadAttempts(as, text string) []Attempt {
	var attempts []Attempt
	for line := range strings.Lines(text) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(fields) != 5 {
			continue // what a program that was tried printed
		}
		attempts = append(attempts, Attempt{ID: fields[0], As: as, Verdict: Verdict(fields[1]), Reason: fields[2], Title: fields[3], Meaning: fields[4]})
	}
	return attempts
}

// FillAttempts adds what is missing in found against those of an earlier one:
// err kept it from being tried.
func FillAttempts(as string, found, earlier []Attempt, err error) []Attempt {
	seen := map[string]bool{}
	for _, attempt := range found {
		seen[attempt.ID] = true
	}
	for _, attempt := range earlier {
		if seen[attempt.ID] {
			continue
		}
		seen[attempt.ID] = true
		attempt.As, attempt.Verdict, attempt.Reason = as, NotAttempted, fmt.Sprintf("the attempts ended early: %v", err)
		found = append(found, attempt)
	}
	return found
}

// Judge makes a step of all attempts: one that escaped fails it, and where
// somebody could try nothing it warns.
func Judge(id, title string, attempts []Attempt, seconds float64) Step {
	counts, tried, reasons := map[Verdict]int{}, map[string]int{}, map[string]string{}
	var escaped []string
	for _, attempt := range attempts {
		counts[attempt.Verdict]++
		switch attempt.Verdict {
		case NotAttempted:
			reasons[attempt.As] = attempt.Reason
		case Escaped:
			escaped = append(escaped, fmt.Sprintf("as %s: %s (%s): %s; so %s", attempt.As, attempt.Title, attempt.ID, attempt.Reason, attempt.Meaning))
			fallthrough
		default:
			tried[attempt.As]++
		}
	}
	step := Step{ID: id, Title: title, Status: Pass, Seconds: seconds, Error: strings.Join(escaped, "\n")}
	step.Observed = fmt.Sprintf("%d blocked, %d escaped, %d not attempted", counts[Blocked], counts[Escaped], counts[NotAttempted])
	for _, as := range slices.Sorted(maps.Keys(reasons)) {
		if tried[as] == 0 {
			step.Status = Warn
			step.Observed += fmt.Sprintf("; nothing could be tried as %s: %s", as, reasons[as])
		}
	}
	if len(escaped) > 0 {
		step.Status = Fail
	}
	return step
}

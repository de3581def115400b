package doctor

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Verdict is the outcome of an attempt to escape.
type Verdict string

// The verdicts. An attempt that could not be made is never Blocked.
const (
	Blocked      Verdict = "blocked"
	Escaped      Verdict = "escaped"
	NotAttempted Verdict = "not attempted"
)

// Attempt is one attempt to get out of a runner. The JSON form is public.
type Attempt struct {
	ID      string  `json:"id"`
	As      string  `json:"as"` // runner, root, container or privileged
	Title   string  `json:"title"`
	Meaning string  `json:"meaning"` // consequences if it worked
	Verdict Verdict `json:"verdict"`
	Reason  string  `json:"reason"` // obstacle or gain, or why it was not tried
}

// attemptLine matches an attempt in scripts/escape: id, title, meaning.
var attemptLine = regexp.MustCompile(`(?m)^attempt "([^"]+)", "([^"]+)",\n\t"([^"]+)", sub \{`)

// Attempts returns the attempts in a file of scripts/escape, in its order, none tried.
func Attempts(script string) []Attempt {
	var attempts []Attempt
	for _, found := range attemptLine.FindAllStringSubmatch(script, -1) {
		attempts = append(attempts, Attempt{ID: found[1], Title: found[2], Meaning: found[3], Verdict: NotAttempted})
	}
	return attempts
}

// ReadAttempts fills in the output of scripts/escape/battery: one line per attempt, with id,
// verdict and reason between tabs. An attempt without a line was not made, because the battery
// ended early; err is the reason if it is known.
func ReadAttempts(as, text string, wanted []Attempt, err error) []Attempt {
	said := map[string][]string{}
	for line := range strings.Lines(text) {
		if fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t"); len(fields) == 3 { // else: output of tried programs
			said[fields[0]] = fields
		}
	}
	attempts := slices.Clone(wanted)
	for i := range attempts {
		one := &attempts[i]
		one.As, one.Reason = as, "the attempts stopped early"
		if err != nil {
			one.Reason += ": " + err.Error()
		}
		fields := said[one.ID]
		if fields == nil {
			continue
		}
		switch verdict := Verdict(fields[1]); verdict {
		case Blocked, Escaped, NotAttempted:
			one.Verdict, one.Reason = verdict, fields[2]
		default:
			one.Reason = "no such verdict: " + fields[1]
		}
	}
	return attempts
}

// Battery holds the attempts as one identity (Attempt.As).
type Battery struct {
	As       string
	Attempts []Attempt
	Err      error // the error that ended it early
}

// Judge makes one step of all batteries. It fails if an attempt escaped or a battery ended
// early. It warns if nothing could be tried as one of the identities.
func Judge(id, title string, batteries []Battery, seconds float64) Step {
	counts := map[Verdict]int{}
	var failures, idle []string
	for _, battery := range batteries {
		tried, reason := 0, ""
		for _, attempt := range battery.Attempts {
			counts[attempt.Verdict]++
			switch attempt.Verdict {
			case NotAttempted:
				reason = attempt.Reason
				continue
			case Escaped:
				failures = append(failures, fmt.Sprintf("as %s: %s (%s): %s; so %s", battery.As, attempt.Title, attempt.ID, attempt.Reason, attempt.Meaning))
			}
			tried++
		}
		if battery.Err != nil {
			failures = append(failures, fmt.Sprintf("as %s: the attempts stopped early: %v", battery.As, battery.Err))
		} else if tried == 0 {
			idle = append(idle, fmt.Sprintf("nothing could be tried as %s: %s", battery.As, reason))
		}
	}
	step := Step{ID: id, Title: title, Status: Pass, Seconds: seconds, Error: strings.Join(failures, "\n")}
	step.Observed = strings.Join(append([]string{fmt.Sprintf("%d blocked, %d escaped, %d not attempted", counts[Blocked], counts[Escaped], counts[NotAttempted])}, idle...), "; ")
	switch {
	case len(failures) > 0:
		step.Status = Fail
	case len(idle) > 0:
		step.Status = Warn
	}
	return step
}

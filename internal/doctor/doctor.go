// Package doctor judges whether a machine can run runners. Checks are data and pure functions
// of facts. Other packages gather the facts (Env) and show the results.
package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Status is the status of a check.
type Status string

// The outcomes.
const (
	Pass  Status = "pass"
	Warn  Status = "warn"
	Fail  Status = "fail"
	Skip  Status = "skip"
	Crash Status = "crash"
)

// Severity decides whether up refuses when the check fails.
type Severity string

// The severities.
const (
	Mandatory Severity = "required"
	Advice    Severity = "advice"
)

// Result is the result of one check. The JSON form is public.
type Result struct {
	ID       string   `json:"id"`
	Title    string   `json:"title"`
	Group    string   `json:"group"`
	Severity Severity `json:"severity"`
	Status   Status   `json:"status"`
	Observed string   `json:"observed"`
	Why      string   `json:"why"`
	Remedy   Remedy   `json:"remedy"`
}

// Outcome is the finding of a check's function.
type Outcome struct {
	Status   Status
	Observed string
	Remedy   Remedy
}

// Check is one entry of the catalogue.
type Check struct {
	ID, Title, Group string
	Severity         Severity
	Why              string
	Needs            Need
	Run              func(Facts) Outcome
}

// Report holds all results, in the catalogue's order.
type Report struct {
	Checks []Result      `json:"checks"`
	Deep   *Deep         `json:"deep,omitempty"` // nil if it was not requested
	Took   time.Duration `json:"-"`
}

// Required returns the checks that up insists on.
func Required(checks []Check) []Check {
	return slices.DeleteFunc(slices.Clone(checks), func(check Check) bool { return check.Severity != Mandatory })
}

// Select picks checks by their ids, or by how the ids begin ("userns" for all of "userns.…").
// unknown is the first word that matches no check.
func Select(checks []Check, words []string) (selected []Check, unknown string) {
	named := func(check Check, word string) bool {
		return check.ID == word || strings.HasPrefix(check.ID, word+".")
	}
	for _, word := range words {
		if !slices.ContainsFunc(checks, func(check Check) bool { return named(check, word) }) {
			return nil, word
		}
	}
	for _, check := range checks {
		if slices.ContainsFunc(words, func(word string) bool { return named(check, word) }) {
			selected = append(selected, check)
		}
	}
	return selected, ""
}

// Run runs the checks in parallel, each for at most limit.
func Run(ctx context.Context, checks []Check, env Env, limit time.Duration) Report {
	started := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	report := Report{Checks: make([]Result, len(checks))}
	var all, asking sync.WaitGroup
	for i, check := range checks {
		all.Go(func() {
			found := make(chan Outcome, 1)
			bounded, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			asking.Go(func() { found <- runOne(bounded, check, env) })
			var outcome Outcome
			select {
			case outcome = <-found:
			case <-bounded.Done():
			}
			if bounded.Err() != nil {
				outcome = Outcome{Status: Crash, Observed: fmt.Sprintf("no answer within %s", limit)}
			}
			report.Checks[i] = result(check, outcome)
		})
	}
	all.Wait()
	cancel()
	asking.Wait() // let the sources clean up after themselves
	report.Took = time.Since(started)
	return report
}

func result(check Check, outcome Outcome) Result {
	outcome.Remedy.Commands = []string{}
	for _, fix := range outcome.Remedy.Fixes {
		outcome.Remedy.Commands = append(outcome.Remedy.Commands, fix.Commands()...)
	}
	return Result{check.ID, check.Title, check.Group, check.Severity, outcome.Status, outcome.Observed, check.Why, outcome.Remedy}
}

func runOne(ctx context.Context, check Check, env Env) (outcome Outcome) {
	defer func() {
		if problem := recover(); problem != nil {
			outcome = Outcome{Status: Crash, Observed: fmt.Sprint(problem)}
		}
	}()
	facts, reason := env.facts(ctx, check.Needs)
	if reason != "" {
		return Outcome{Status: Skip, Observed: reason}
	}
	return check.Run(facts)
}

// Downgrade turns failures of the named checks into warnings.
func (r Report) Downgrade(checks []Check) Report {
	r.Checks = slices.Clone(r.Checks)
	for i, result := range r.Checks {
		ignored := slices.ContainsFunc(checks, func(check Check) bool { return check.ID == result.ID })
		if ignored && (result.Status == Fail || result.Status == Crash) {
			r.Checks[i].Status = Warn
			r.Checks[i].Observed += " (ignored)"
		}
	}
	return r
}

// Failed reports whether a required check failed, or a step of the deep test.
func (r Report) Failed() bool {
	return r.Deep != nil && r.Deep.Failed() || slices.ContainsFunc(r.Checks, func(result Result) bool {
		return result.Severity == Mandatory && (result.Status == Fail || result.Status == Crash)
	})
}

// Counts returns the number of results by status.
func (r Report) Counts() map[Status]int {
	counts := map[Status]int{}
	for _, result := range r.Checks {
		counts[result.Status]++
	}
	return counts
}

func pass(format string, args ...any) Outcome {
	return Outcome{Status: Pass, Observed: fmt.Sprintf(format, args...)}
}

func skip(reason string) Outcome { return Outcome{Status: Skip, Observed: reason} }

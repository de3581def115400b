// Package doctor judges whether a machine can run runners. Checks are data;
// who gathers the facts and who shows the results stands outside.
package doctor

import (
	"context"
	"fmt"
	"io/fs"
)

// Status of a check.
type Status string

// The outcomes.
const (
	Pass  Status = "pass"
	Warn  Status = "warn"
	Fail  Status = "fail"
	Skip  Status = "skip"
	Crash Status = "crash"
)

// Severity tells whether up refuses when the check fails.
type Severity string

// The severities.
const (
	Mandatory Severity = "required"
	Advice    Severity = "advice"
)

// Facts is what is known of the engine's machine.
type Facts struct {
	ClientOS string // GOOS of this process
	Endpoint string // where the engine is reached
	Local    bool   // the engine's machine is this one

	EngineErr                                                 error
	EngineVersion, APIVersion, KernelVersion, OperatingSystem string
	StorageDriver, CgroupVersion, CgroupDriver, RootDir       string
	SecurityOptions                                           []string
	NCPU                                                      int
	MemTotal                                                  int64 // bytes
	FreeDisk                                                  int64 // bytes under RootDir; -1 unknown
	Root                                                      fs.FS // the machine's "/"; nil where it can't be read
	Count                                                     int   // runners wanted
	MemoryPerRunner                                           int64 // bytes
}

// Remedy is what to do, as commands that can be pasted.
type Remedy struct {
	Text     string   `json:"text"`
	Commands []string `json:"commands"`
}

// Result of one check; the JSON form is public.
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

// Outcome is what a check's function finds.
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
	NeedsEngine      bool
	NeedsFiles       bool
	Run              func(Facts) Outcome
}

// Report is all results, in the catalogue's order.
type Report struct {
	Checks []Result `json:"checks"`
}

// Required selects what up insists on.
func Required(checks []Check) []Check {
	var required []Check
	for _, check := range checks {
		if check.Severity == Mandatory {
			required = append(required, check)
		}
	}
	return required
}

// Run runs checks in order; observe sees each result, skips too.
func Run(ctx context.Context, checks []Check, facts Facts, observe func(Result)) Report {
	report := Report{Checks: []Result{}}
	for _, check := range checks {
		if ctx.Err() != nil {
			break
		}
		outcome := runOne(check, facts)
		if outcome.Remedy.Commands == nil {
			outcome.Remedy.Commands = []string{}
		}
		result := Result{check.ID, check.Title, check.Group, check.Severity, outcome.Status, outcome.Observed, check.Why, outcome.Remedy}
		observe(result)
		report.Checks = append(report.Checks, result)
	}
	return report
}

func runOne(check Check, facts Facts) (outcome Outcome) {
	defer func() {
		if problem := recover(); problem != nil {
			outcome = Outcome{Status: Crash, Observed: fmt.Sprint(problem)}
		}
	}()
	switch {
	case check.NeedsEngine && facts.EngineErr != nil:
		return Outcome{Status: Skip, Observed: "the engine does not answer"}
	case check.NeedsFiles && facts.Root == nil:
		return Outcome{Status: Skip, Observed: "the engine's machine can't be read from here"}
	}
	return check.Run(facts)
}

// Failed tells whether something that up insists on failed.
func (r Report) Failed() bool {
	for _, result := range r.Checks {
		if result.Severity == Mandatory && (result.Status == Fail || result.Status == Crash) {
			return true
		}
	}
	return false
}

// Counts by status.
func (r Report) Counts() map[Status]int {
	counts := map[Status]int{}
	for _, result := range r.Checks {
		counts[result.Status]++
	}
	return counts
}

package fleet

import (
	"fmt"
	"io"
	"sort"
)

// Action is what one operation does.
type Action string

// The actions of a plan.
const (
	Create Action = "create"
	Remove Action = "remove"
	Keep   Action = "keep"
	Forget Action = "forget" // remove a registration without a runner
	Leave  Action = "leave"  // a registration whose runner seems to live, but not on this engine
)

// Operation is one step of a plan, with its cause.
type Operation struct {
	Action       Action
	Name         string
	Cause        string
	Runner       Runner       // of Remove and Keep
	Registration Registration // of Forget and Leave
}

// Plan is the list of operations that turns the observed fleet into the wanted one.
type Plan struct{ Operations []Operation }

// Write prints the plan, one line per operation.
func (p Plan) Write(w io.Writer) {
	for _, operation := range p.Operations {
		fmt.Fprintf(w, "%-7s %s  (%s)\n", operation.Action, operation.Name, operation.Cause)
	}
}

// Make returns the plan after which count runners of spec exist. orphans are the fleet's
// registrations without a runner. newName returns names that are free on the engine. Surplus
// runners are removed in this order: not ready, idle, youngest. A runner that has a GitHub job
// is never removed.
func Make(observed []Runner, orphans []Registration, count int, spec Spec, newName func() string) Plan {
	var plan Plan
	add := func(operation Operation) { plan.Operations = append(plan.Operations, operation) }
	var fit []Runner
	left := count
	hash := spec.Hash()
	for _, runner := range observed {
		switch cause := unfit(runner, spec, hash); {
		case cause == "":
			fit = append(fit, runner)
		case runner.hasJob():
			add(Operation{Action: Keep, Name: runner.Name, Cause: cause + ", but it has a job", Runner: runner})
			left--
		default:
			add(Operation{Action: Remove, Name: runner.Name, Cause: cause, Runner: runner})
		}
	}
	sort.SliceStable(fit, func(i, j int) bool {
		if fit[i].Ready != fit[j].Ready {
			return fit[i].Ready
		}
		if fit[i].Busy != fit[j].Busy {
			return fit[i].Busy
		}
		if !fit[i].Created.Equal(fit[j].Created) {
			return fit[i].Created.Before(fit[j].Created)
		}
		return fit[i].Name < fit[j].Name
	})
	for _, runner := range fit {
		surplus := fmt.Sprintf("surplus, %d wanted", count)
		switch {
		case left > 0:
			add(Operation{Action: Keep, Name: runner.Name, Cause: "as wanted", Runner: runner})
		case runner.hasJob():
			add(Operation{Action: Keep, Name: runner.Name, Cause: surplus + ", but it has a job", Runner: runner})
		default:
			add(Operation{Action: Remove, Name: runner.Name, Cause: surplus, Runner: runner})
		}
		left--
	}
	plan.Operations = append(plan.Operations, forgets(orphans)...)
	for i := count - left; i < count; i++ {
		add(Operation{Action: Create, Name: newName(), Cause: fmt.Sprintf("%d of %d", i+1, count)})
	}
	return plan
}

func unfit(runner Runner, spec Spec, hash string) string {
	switch {
	case runner.State == Exited && runner.Agent.OneJob():
		return "it ended: " + Verdict(runner.ExitCode, runner.OutOfMemory)
	case runner.ImageID != spec.ImageID:
		return "its image is not " + spec.Image
	case runner.SpecHash != hash:
		return "its spec changed"
	case runner.State == Restarting:
		return runner.endsAgain()
	case runner.State != Running:
		return "it is " + string(runner.State)
	case !runner.Ready && runner.Revivals > 0:
		return runner.endsAgain()
	case runner.Problem != "":
		return notAnswering + runner.Problem
	case runner.unlisted():
		return "GitHub does not list it"
	}
	return ""
}

// notAnswering starts the cause when jobs can't use a runner's daemon.
const notAnswering = "not answering: "

// endsAgain returns the cause for removing a runner that the engine keeps restarting in vain.
func (r Runner) endsAgain() string {
	why := "it ends again and again"
	if r.Agent.Mode != NoAgent && r.ExitCode != 0 {
		why += ": " + Verdict(r.ExitCode, r.OutOfMemory)
	}
	return why
}

// hasJob reports whether GitHub assigned the runner a job and its container is running.
func (r Runner) hasJob() bool {
	return r.Listing != nil && r.Listing.Busy && r.State == Running
}

// unlisted reports whether the runner will never get a job. With a registration token, the
// agent registers itself some time after the start.
func (r Runner) unlisted() bool {
	return r.Listing != nil && r.Listing.State == NotListed && (r.Agent.Mode == JIT || r.Ready)
}

// forgets removes registrations that no runner has: their runnerctl was killed. An online or
// busy registration has a runner somewhere, so it stays.
func forgets(orphans []Registration) (operations []Operation) {
	for _, one := range orphans {
		if !one.Online && !one.Busy {
			operations = append(operations, Operation{Action: Forget, Name: one.Name, Cause: "offline at GitHub, and no runner has it", Registration: one})
		}
	}
	return operations
}

// RemoveAll returns the plan of down. It lists the registrations that it can't remove.
func RemoveAll(observed []Runner, orphans []Registration) Plan {
	var plan Plan
	for _, runner := range observed {
		plan.Operations = append(plan.Operations, Operation{Action: Remove, Name: runner.Name, Cause: "down", Runner: runner})
	}
	plan.Operations = append(plan.Operations, forgets(orphans)...)
	for _, one := range orphans {
		if one.Online || one.Busy {
			plan.Operations = append(plan.Operations, Operation{Action: Leave, Name: one.Name, Cause: "GitHub shows it as connected or busy, and no runner here has it", Registration: one})
		}
	}
	return plan
}

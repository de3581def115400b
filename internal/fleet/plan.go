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
)

// Operation is one step of a plan and its cause.
type Operation struct {
	Action Action
	Name   string
	Cause  string
	Runner Runner // of Remove and Keep
}

// Plan is what turns the observed fleet into the wanted one.
type Plan struct{ Operations []Operation }

// Changes tells whether the plan does anything.
func (p Plan) Changes() bool {
	for _, operation := range p.Operations {
		if operation.Action != Keep {
			return true
		}
	}
	return false
}

// Write prints the plan, one line an operation.
func (p Plan) Write(w io.Writer) {
	for _, operation := range p.Operations {
		fmt.Fprintf(w, "%-7s %s  (%s)\n", operation.Action, operation.Name, operation.Cause)
	}
}

// Make decides what to do so that count runners of spec exist. newName yields
// names that are free on the engine. Of a surplus, runners that are not ready go
// first, then idle ones, then the youngest.
func Make(observed []Runner, count int, spec Spec, newName func() string) Plan {
	var plan Plan
	var fit []Runner
	hash := spec.Hash()
	for _, runner := range observed {
		if cause := unfit(runner, spec, hash); cause != "" {
			plan.Operations = append(plan.Operations, Operation{Remove, runner.Name, cause, runner})
			continue
		}
		fit = append(fit, runner)
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
	for i, runner := range fit {
		if i < count {
			plan.Operations = append(plan.Operations, Operation{Keep, runner.Name, "as wanted", runner})
		} else {
			plan.Operations = append(plan.Operations, Operation{Remove, runner.Name, fmt.Sprintf("surplus, %d wanted", count), runner})
		}
	}
	for i := len(fit); i < count; i++ {
		plan.Operations = append(plan.Operations, Operation{Action: Create, Name: newName(), Cause: fmt.Sprintf("%d of %d", i+1, count)})
	}
	return plan
}

func unfit(runner Runner, spec Spec, hash string) string {
	switch {
	case runner.ImageID != spec.ImageID:
		return "its image is not " + spec.Image
	case runner.SpecHash != hash:
		return "its spec changed"
	case runner.State != Running:
		return "it is " + string(runner.State)
	case !runner.Ready && runner.Revivals > 0:
		return "it ends again and again"
	}
	return ""
}

// RemoveAll is the plan of down.
func RemoveAll(observed []Runner) Plan {
	var plan Plan
	for _, runner := range observed {
		plan.Operations = append(plan.Operations, Operation{Remove, runner.Name, "down", runner})
	}
	return plan
}

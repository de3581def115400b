package fleet

import (
	"cmp"
	"fmt"
	"io"
	"strings"
)

// Action is the kind of one operation.
type Action string

// The actions of a plan.
const (
	Create  Action = "create"
	Give    Action = "give"    // give a spare its credential
	Adopt   Action = "adopt"   // wait until a runner that another process made is ready
	Replace Action = "replace" // remove a runner that only looks alive, after a last check
	Remove  Action = "remove"
	Forget  Action = "forget" // remove a registration without a runner
	Leave   Action = "leave"  // report a registration whose runner seems to live, but not on this engine
	Keep    Action = "keep"   // nothing to do
)

// Operation is one step of a plan, with its cause.
type Operation struct {
	Action       Action
	Name         string
	Cause        string
	Deferred     bool         // waits until the runners that are being made are ready
	Start        Start        // of Create
	Runner       Runner       // zero for Create, Forget and Leave
	Registration Registration // of Forget and Leave
}

// Verb names the operation: its action, or the way to start if that is not the usual one.
func (o Operation) Verb() string { return cmp.Or(string(o.Start), string(o.Action)) }

// String returns the operation as one line, as plans, events and errors show it.
func (o Operation) String() string {
	return fmt.Sprintf("%-7s %s  (%s)", o.Verb(), o.Name, o.Cause)
}

// Plan turns the observed fleet into the desired one. No operation waits for another of the
// same plan. Kept lists the runners that stay as they are.
type Plan struct {
	Kept       []Operation
	Operations []Operation
}

// Write prints the plan, one line per operation.
func (p Plan) Write(w io.Writer) {
	for _, operation := range append(p.Kept, p.Operations...) {
		fmt.Fprintln(w, operation)
	}
}

// String returns the operations as one line, without the kept runners.
func (p Plan) String() string {
	var all []string
	for _, operation := range p.Operations {
		all = append(all, strings.Join(strings.Fields(operation.String()), " "))
	}
	return strings.Join(all, "; ")
}

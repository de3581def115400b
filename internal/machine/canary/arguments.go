// Package canary holds the targets of runnerctl doctor --deep: a program that a job of another
// runner must not reach, and a program that it may send to. They run only then.
package canary

// Program is the runtime of a runner in its outer tree. Its first argument selects the target.
const (
	Program  = "/usr/lib/runnerctl/machine"
	Argument = "canary"
	Counter  = "counter"
)

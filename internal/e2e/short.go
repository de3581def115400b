//go:build !long

package e2e

// make test runs only some of the cases of one kind. make test-long runs them all.
const (
	Thorough = false
	Killings = 4
	ManyJobs = 8
)

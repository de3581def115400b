//go:build !long

package e2e

import "time"

// make test runs only some of the cases of one kind. make test-long runs them all.
const (
	Thorough    = false
	Killings    = 4
	ManyJobs    = 12
	WholeWithin = 5 * time.Second // other tests run in parallel
)

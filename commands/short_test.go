//go:build !long

package commands

import "time"

// make test runs only some of the cases of one kind; make test-long runs them all.
const (
	thorough    = false
	killings    = 4
	manyJobs    = 12
	wholeWithin = 5 * time.Second // other tests run in parallel
)

//go:build !long

package commands

import "time"

// What make test leaves to make test-long: of things of one kind, all but some.
const (
	thorough    = false
	killings    = 4
	manyJobs    = 12
	wholeWithin = 5 * time.Second // beside other tests
)

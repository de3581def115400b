//go:build long

package e2e

import (
	"time"
)

// The long tests run all cases of each kind (see short.go).
const (
	Thorough      = true
	Killings      = 20
	ManyJobs      = 40
	WholeWithin   = 1500 * time.Millisecond
	WholeAfterAll = 10 * time.Second
)

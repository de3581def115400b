//go:build !long

package main

import "time"

// make test runs only one interruption and leaves the others to make test-long.
var interruptions = []time.Duration{4} // s

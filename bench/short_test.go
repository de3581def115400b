//go:build !long

package main

import "time"

// What make test leaves to make test-long: all but one.
var interruptions = []time.Duration{4} // s

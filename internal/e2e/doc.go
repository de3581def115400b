// Package e2e holds the functions that the end-to-end tests share. Each folder in it is a group
// of tests that run runnerctl on a real engine. Only tests import it.
package e2e

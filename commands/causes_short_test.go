//go:build linux && !long

package commands

// everyFault is whether those are made too that take a build, a private engine or
// a daemon that gives up.
const everyFault = false

//go:build linux && long

package commands

const everyFault = true

//go:build linux && !long

package commands

const killings = 4

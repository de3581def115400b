// Package scripts embeds the scripts that run outside the Go process.
package scripts

import "embed"

// Image holds the files of the runner image's build context, under "image/".
//
//go:embed image
var Image embed.FS

// Demo holds the steps of the jobs of `runnerctl demo`, under "demo/". The second
// line of each is its description.
//
//go:embed demo
var Demo embed.FS

// Completion holds a completion script per shell, under "completion/".
//
//go:embed completion
var Completion embed.FS

// Deep holds the steps of `runnerctl doctor --deep`, under "deep/", by number. The second
// line of each is its title. Code 0 means success and 2 a warning; the last line of
// standard output is the observation.
//
//go:embed deep
var Deep embed.FS

// Escape holds the attempts to get out of a runner, under "escape/".
//
//go:embed escape
var Escape embed.FS

// Host makes a host of a machine: host/prepare, and the files that it puts there.
//
//go:embed host/prepare host/block-metadata host/runnerctl-runner host/runnerctl-metadata.service
var Host embed.FS

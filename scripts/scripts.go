// Package scripts embeds what runs outside the Go process.
package scripts

import "embed"

// Image holds the files of the runner image's build context, under "image/".
//
//go:embed image
var Image embed.FS

// Demo holds the steps of the jobs of `runnerctl demo`, under "demo/". The second
// line of each tells what it shows.
//
//go:embed demo
var Demo embed.FS

// Completion holds a completion script per shell, under "completion/".
//
//go:embed completion
var Completion embed.FS

// Package scripts embeds what runs outside the Go process.
package scripts

import "embed"

// Image holds the files of the runner image's build context, under "image/".
//
//go:embed image
var Image embed.FS

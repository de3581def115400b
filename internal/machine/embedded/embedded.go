// Package embedded holds the runtime of runners as programs for the architectures of engines.
// `make build` puts them there; a build without them compiles, and says so when an image is
// wanted.
package embedded

import (
	"embed"
	"errors"
	"io/fs"
	"path"
	"strings"
)

//go:embed all:programs
var programs embed.FS

// Prefix is the beginning of the programs' names; the rest is the architecture in Docker's
// words.
const Prefix = "machine-"

// ErrMissing means that runnerctl was built without the programs.
var ErrMissing = errors.New("this runnerctl was built without the runtime of its runners: build it with `make build`")

// Check returns ErrMissing if there is no program.
func Check() error {
	if len(Programs()) == 0 {
		return ErrMissing
	}
	return nil
}

// Programs returns the programs by the architecture of the engine's machine, like amd64.
func Programs() map[string][]byte { return read(programs) }

func read(from fs.FS) map[string][]byte {
	found := map[string][]byte{}
	paths, _ := fs.Glob(from, path.Join("programs", Prefix+"*")) // the pattern is valid
	for _, name := range paths {
		if text, err := fs.ReadFile(from, name); err == nil { // the files are in this program
			found[strings.TrimPrefix(path.Base(name), Prefix)] = text
		}
	}
	return found
}

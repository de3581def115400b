// Runnerctl starts self-hosted GitHub Actions runners whose jobs have a whole
// machine, Docker and sudo included, in unprivileged containers.
package main

import (
	"os"

	"github.com/runnerctl/runnerctl/commands"
)

func main() {
	os.Exit(commands.Main(os.Args))
}

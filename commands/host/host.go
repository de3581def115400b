// Package host is the command host: one file per verb. Each verb turns its flags into an options
// struct and calls one function.
package host

import (
	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/session"
)

// Command returns the command host.
func Command(s session.Session) cmdline.Command {
	return cmdline.Command{Command: &cli.Command{
		Name:     "host",
		Category: "Prepare",
		Usage:    "list hosts, drain a host, prepare a machine as a host",
		Description: "Examples:\n" +
			"   runnerctl host ls\n" +
			"   runnerctl host drain vm2\n" +
			"   runnerctl host prepare ssh://admin@vm --dry-run\n" +
			"   runnerctl host cloud-init >user-data",
	}, Verbs: []cmdline.Command{lsCommand(s), drainCommand(s), prepareCommand(s), cloudInitCommand(s)}}
}

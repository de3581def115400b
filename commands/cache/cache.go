// Package cache is the command cache: one file per verb. Each verb turns its flags into options
// and calls one function.
package cache

import (
	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/session"
)

// Command returns the command cache.
func Command(s session.Session) cmdline.Command {
	return cmdline.Command{Command: &cli.Command{
		Name:     "cache",
		Category: "Look inside",
		Usage:    "list, remove, verify and add entries of hosts' caches",
		Description: "cache: in runnerctl.yaml gives each host a cache, which all its runners share.\n\nExamples:\n" +
			"   runnerctl cache ls\n" +
			"   runnerctl cache rm 7914196464358507\n" +
			"   runnerctl cache prune --unused 24h\n" +
			"   runnerctl cache verify\n" +
			"   runnerctl cache warm --action actions/checkout@v4",
	}, Verbs: []cmdline.Command{lsCommand(s), rmCommand(s), pruneCommand(s), verifyCommand(s), warmCommand(s)}}
}

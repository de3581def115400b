package commands

import (
	"github.com/urfave/cli/v2"
	_ "golang.org/x/crypto/x509roots/fallback" // for a cache whose up found no certificate authorities to pass on

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/cache"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/hostcache"
	"github.com/runnerctl/runnerctl/internal/machine"
	"github.com/runnerctl/runnerctl/internal/session"
)

// insideCacheCommand runs in a cache's container, which holds this program itself.
func insideCacheCommand(s session.Session) verb {
	return verb{Command: &cli.Command{
		Name: hostcache.Command, Hidden: true, SkipFlagParsing: true,
		Action: func(c *cli.Context) error {
			place := cache.Place{Folder: dockerx.CacheFolder, Archives: dockerx.ArchivesFolder, Socket: machine.CacheSocket}
			switch args := c.Args().Slice(); len(args) {
			case 1:
				return place.Run(c.Context, args[0], s.Streams.Err)
			case 2:
				return place.Ask(c.Context, cache.Request{Method: args[0], Path: args[1], Body: s.Streams.In}, s.Streams.Out)
			}
			return &cmdline.UsageError{Problem: hostcache.Command + ": expected a configuration, or the method and path of a request"}
		},
	}}
}

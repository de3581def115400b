package flags

import (
	"cmp"
	"os"

	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// EarlyColor finds the color mode before the command line is parsed, so that parse errors use it
// too. The command itself reports a wrong value.
func EarlyColor(app *cmdline.App, args []string, env func(string) string) ui.ColorMode {
	mode, err := ui.ParseColorMode(cmp.Or(app.FlagValue(args, "color"), env("RUNNERCTL_COLOR"), "auto"))
	if err != nil {
		return "auto"
	}
	return mode
}

// EarlyHost finds the host before the command line is parsed: every command connects, but not
// every command has the settings at hand.
func EarlyHost(app *cmdline.App, args []string, env func(string) string) (string, session.Inventory) {
	file := cmp.Or(app.FlagValue(args, "config", "c"), env("RUNNERCTL_CONFIG"))
	host := cmp.Or(app.FlagValue(args, "host"), env("RUNNERCTL_HOST"))
	if _, err := os.Stat(config.DefaultFile); file == "" && err != nil {
		return host, session.Inventory{}
	}
	loaded, err := config.Load(cmp.Or(file, config.DefaultFile))
	return host, session.Inventory{All: loaded.Hosts, Err: err}
}

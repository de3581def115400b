// Package flags holds the flags that several commands share, and reads them. It imports urfave,
// internal/{cmdline,config,session,ui}, and no commands.
package flags

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/lifecycle"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/supervisor"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// Kinds of names that completion looks up.
const (
	RunnerNames = "runners"
	FleetNames  = "fleets"
	HostNames   = "hosts"
)

// Common gives a command and its verbs the flag for colors, adds checks that the parser lacks, and
// turns a session.UsageError of their work into a usage error of the
// command that ran.
func Common(of cmdline.Command) {
	if !slices.ContainsFunc(of.Flags, func(flag cli.Flag) bool { return flag.Names()[0] == "color" }) {
		of.Flags = append(of.Flags, Color())
	}
	of.Before = func(c *cli.Context) error {
		if _, err := ui.ParseColorMode(c.String("color")); err != nil {
			return &cmdline.UsageError{Command: cmdline.CommandName(c), Problem: err.Error()}
		}
		return cmdline.EmptyBoolean(c)
	}
	if work := of.Action; work != nil {
		of.Action = func(c *cli.Context) error {
			err := work(c)
			var wrong *session.UsageError
			if errors.As(err, &wrong) {
				return &cmdline.UsageError{Command: cmdline.CommandName(c), Problem: wrong.Problem}
			}
			return err
		}
	}
	for _, verb := range of.Verbs {
		Common(verb)
	}
}

// ConfigFile is the flag of the settings' file.
func ConfigFile() cli.Flag {
	return &cli.StringFlag{Name: "config", Aliases: []string{"c"}, Usage: "read settings from `FILE` (optional)", DefaultText: "./" + config.DefaultFile, EnvVars: []string{"RUNNERCTL_CONFIG"}, Category: "Settings"}
}

// Config are the flags that choose the settings and the fleet.
func Config() []cli.Flag {
	return []cli.Flag{
		ConfigFile(),
		&cmdline.Choice{Flag: &cli.StringFlag{Name: "fleet", Usage: "`NAME` of the fleet", DefaultText: "name: in the file, or ci", EnvVars: []string{"RUNNERCTL_FLEET"}, Category: "Settings"}, Candidates: cmdline.Candidates{Kind: FleetNames}},
	}
}

// Color is the flag for colors.
func Color() cli.Flag {
	return &cmdline.Choice{Flag: &cli.StringFlag{Name: "color", Usage: "use color `WHEN`: auto, always or never", Value: "auto", EnvVars: []string{"RUNNERCTL_COLOR"}, Category: "Output"}, Candidates: cmdline.Candidates{Words: []string{"auto", "always", "never"}}}
}

// Output is the flag of commands that list.
func Output() cli.Flag {
	return &cmdline.Choice{Flag: &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "output `FORMAT`: table or json", Value: "table", EnvVars: []string{"RUNNERCTL_OUTPUT"}, Category: "Output"}, Candidates: cmdline.Candidates{Words: []string{"table", "json"}}}
}

// Settings merges flags over environment over file over defaults.
func Settings(c *cli.Context) (config.Config, error) {
	path := c.String("config")
	loaded := config.Default()
	_, statErr := os.Stat(config.DefaultFile)
	switch {
	case path != "":
		var err error
		if loaded, err = config.Load(path); err != nil {
			return loaded, err
		}
	case statErr == nil:
		var err error
		if loaded, err = config.Load(config.DefaultFile); err != nil {
			return loaded, err
		}
	}
	if c.IsSet("fleet") {
		loaded.Name = c.String("fleet")
	}
	if c.IsSet("count") {
		loaded.Runners.Count = c.Int("count")
	}
	githubSettings(c, &loaded)
	err := loaded.Validate()
	var problem *config.Error
	if errors.As(err, &problem) && problem.Field == "name" && c.IsSet("fleet") {
		err = &cmdline.UsageError{Command: cmdline.CommandName(c), Problem: "--fleet " + problem.Problem}
	}
	return loaded, err
}

// Theme returns the colors for a stream.
func Theme(c *cli.Context, s session.Session, tty bool) (ui.Theme, error) {
	mode, err := ui.ParseColorMode(c.String("color"))
	if err != nil {
		return ui.Theme{}, &cmdline.UsageError{Command: cmdline.CommandName(c), Problem: err.Error()}
	}
	return ui.NewTheme(mode, tty, s.Env), nil
}

// JSON reports whether --output asks for JSON.
func JSON(c *cli.Context) (bool, error) {
	switch c.String("output") {
	case "table", "": // "" if the variable is empty
		return false, nil
	case "json":
		return true, nil
	}
	return false, &cmdline.UsageError{Command: cmdline.CommandName(c), Problem: fmt.Sprintf("--output %q: expected table or json", c.String("output"))}
}

// WriteJSON prints the single document of -o json.
func WriteJSON(w io.Writer, value any) error { return ui.WriteJSON(w, value) }

// Host is the flag of the engine's machine.
func Host() cli.Flag {
	return &cmdline.Choice{Flag: &cli.StringFlag{Name: "host", Usage: "the machine `HOST`: a name in the file's hosts:, a docker context, ssh://user@vm, tcp:// with TLS, unix://", DefaultText: "the file's hosts:, else docker's own choice", EnvVars: []string{"RUNNERCTL_HOST"}, Category: "Settings"}, Candidates: cmdline.Candidates{Kind: HostNames}}
}

// GitHub are the flags of commands that ask GitHub.
func GitHub() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "target", Usage: "`URL` that runners take jobs from: https://github.com/OWNER/REPO, /ORG or /enterprises/E", DefaultText: "the file's target:, else none", EnvVars: []string{"RUNNERCTL_TARGET"}, Category: "GitHub"},
		&cli.StringFlag{Name: "token-file", Usage: "`FILE` with GitHub's token", DefaultText: "$RUNNERCTL_TOKEN, the file's github:, $GITHUB_TOKEN, $GH_TOKEN, gh auth token", EnvVars: []string{"RUNNERCTL_TOKEN_FILE"}, Category: "GitHub"},
	}
}

// Desired are the flags that describe a fleet's desired state.
func Desired() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "ephemeral", Usage: "a runner is gone after one job (=false: it stays)", DefaultText: "the file's runners.ephemeral, else true", EnvVars: []string{"RUNNERCTL_EPHEMERAL"}, Category: "GitHub"},
		&cli.BoolFlag{Name: "allow-public-repo", Usage: "accept jobs of a public repository, from any author", EnvVars: []string{"RUNNERCTL_ALLOW_PUBLIC_REPO"}, Category: "GitHub"},
		&cli.IntFlag{Name: "count", Aliases: []string{"n"}, Usage: "`N` runners", DefaultText: "the file's runners.count, else 1", EnvVars: []string{"RUNNERCTL_COUNT"}, Category: "Plan"},
		&cli.DurationFlag{Name: "timeout", Usage: "`LIMIT` for a runner to be ready: its inner daemon answers, GitHub lists it online", DefaultText: "the file's runners.readyTimeout, else 60s", EnvVars: []string{"RUNNERCTL_TIMEOUT"}, Category: "Plan"},
	}
}

// Build are the flags of commands that may build the image.
func Build() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "bootstrap-base", Usage: "where the base image can't be pulled, make it from the distribution's packages (mmdebstrap)", EnvVars: []string{"RUNNERCTL_BOOTSTRAP_BASE"}, Category: "Image"},
		&cmdline.Choice{Flag: &cli.StringFlag{Name: "progress", Usage: "`MODE`: auto, tty, plain or quiet", Value: "auto", EnvVars: []string{"RUNNERCTL_PROGRESS"}, Category: "Output"}, Candidates: cmdline.Candidates{Words: []string{"auto", "tty", "plain", "quiet"}}},
	}
}

// githubSettings overrides the file's settings with the flags.
func githubSettings(c *cli.Context, loaded *config.Config) {
	if c.IsSet("target") {
		loaded.Target = c.String("target")
	}
	if c.IsSet("token-file") {
		loaded.GitHub.TokenFlag = c.String("token-file")
	}
	if c.IsSet("ephemeral") {
		loaded.Runners.Ephemeral = c.Bool("ephemeral")
	}
}

// metricsAddress is reachable from this machine only: the metrics are not meant for others.
const metricsAddress = "127.0.0.1:9477"

// Supervisor are the flags of a supervisor's output.
func Supervisor() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "log-format", Usage: "`FORMAT` of the supervisor's log: text or json", Value: "text", EnvVars: []string{"RUNNERCTL_LOG_FORMAT"}, Category: "Supervisor"},
		&cli.StringFlag{Name: "metrics-address", Usage: "loopback `ADDRESS` of the supervisor's machine where it serves /metrics and /healthz", Value: metricsAddress, EnvVars: []string{"RUNNERCTL_METRICS_ADDRESS"}, Category: "Supervisor"},
	}
}

// SupervisorOutput reads the flags of Supervisor.
func SupervisorOutput(c *cli.Context) (supervisor.Output, error) {
	output := supervisor.Output{Format: c.String("log-format"), Metrics: c.String("metrics-address")}
	if output.Format != "text" && output.Format != "json" {
		return output, &cmdline.UsageError{Command: cmdline.CommandName(c), Problem: fmt.Sprintf("--log-format %q: text or json", output.Format)}
	}
	if address, err := netip.ParseAddrPort(output.Metrics); err != nil || !address.Addr().IsLoopback() {
		return output, &cmdline.UsageError{Command: cmdline.CommandName(c), Problem: fmt.Sprintf("--metrics-address %q: expected a loopback address with a port, like %s", output.Metrics, metricsAddress)}
	}
	return output, nil
}

// Fleet reads the settings and the flags that describe a fleet: of Config, Build, GitHub and
// Desired, as far as the command has them.
func Fleet(c *cli.Context, s session.Session) (lifecycle.Fleet, error) {
	loaded, err := Settings(c)
	if err != nil {
		return lifecycle.Fleet{}, err
	}
	if !c.IsSet("count") {
		loaded.Runners.Count = s.CountOn(loaded)
	}
	fleet := lifecycle.Fleet{Settings: loaded, PublicAllowed: c.Bool("allow-public-repo"), Ready: time.Duration(loaded.Runners.ReadyTimeout)}
	if c.IsSet("timeout") {
		fleet.Ready = c.Duration("timeout")
	}
	if fleet.Build, err = BuildOptions(c); err != nil {
		return fleet, err
	}
	fleet.Theme, err = Theme(c, s, s.Streams.ErrTTY)
	return fleet, err
}

// BuildOptions reads the flags of Build.
func BuildOptions(c *cli.Context) (lifecycle.Build, error) {
	options := lifecycle.Build{BootstrapBase: c.Bool("bootstrap-base"), Progress: c.String("progress")}
	switch options.Progress {
	case "auto", "tty", "plain", "quiet":
		return options, nil
	}
	return options, &cmdline.UsageError{Command: cmdline.CommandName(c), Problem: fmt.Sprintf("--progress %q: auto, tty, plain or quiet", options.Progress)}
}

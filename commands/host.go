package commands

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/lifecycle"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/spelling"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// hostVerbs lists the verbs of host, each with the flags that only some verbs accept.
var hostVerbs = map[string][]string{
	"ls":         nil,
	"drain":      {"force"},
	"prepare":    {"yes", "dry-run", "allow-metadata"},
	"cloud-init": {"allow-metadata"},
}

func hostCommand(s session.Session) verb {
	return verb{Command: &cli.Command{
		Name:      "host",
		Category:  "Prepare",
		Usage:     "list hosts, drain a host, prepare a machine as a host",
		ArgsUsage: "ls|drain NAME|prepare HOST|cloud-init",
		Description: "ls queries every host in hosts: of the file in parallel. drain runs down for one of them and waits for its jobs;\n" +
			"with count: 0 in the file, up leaves it empty. prepare sets up a machine over ssh: Docker Engine from the distribution's\n" +
			"packages, kernel modules and settings, the AppArmor profile runnerctl-runner, no cloud metadata for containers. It prints the plan and asks.\n" +
			"cloud-init prints user-data that does the same at a VM's first boot (Debian 12 and 13, Ubuntu 22.04 and 24.04, Amazon Linux 2023).\n\nExamples:\n" +
			"   runnerctl host ls\n" +
			"   runnerctl host drain vm2\n" +
			"   runnerctl host prepare ssh://admin@vm --dry-run\n" +
			"   runnerctl host cloud-init >user-data",
		Flags: slices.Concat(flags.Config(), flags.GitHub(), []cli.Flag{
			&cli.DurationFlag{Name: "wait", Usage: "drain: time `LIMIT` for jobs to end", Value: jobsWait, EnvVars: []string{"RUNNERCTL_WAIT"}, Category: "GitHub"},
			&cli.BoolFlag{Name: "force", Usage: "drain: cancel jobs, and continue if GitHub can't be reached", Category: "GitHub"},
			&cli.BoolFlag{Name: "dry-run", Usage: "prepare: print the plan only", Category: "Plan"},
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "prepare: don't ask for confirmation", Category: "Plan"},
			&cli.BoolFlag{Name: "allow-metadata", Usage: "prepare, cloud-init: let containers reach the cloud's metadata service", Category: "Plan"},
			flags.Output(), flags.Color(),
		}),
		Action: func(c *cli.Context) error {
			verb, args := c.Args().First(), c.Args().Tail()
			if err := checkHostWords(c, verb); err != nil {
				return err
			}
			loaded, err := flags.Settings(c)
			if err != nil {
				return err
			}
			switch verb {
			case "drain":
				if len(args) != 1 {
					return &cmdline.UsageError{Command: "host", Problem: "specify one host: runnerctl host drain NAME"}
				}
				options := lifecycle.Down{Settings: loaded, Fleet: loaded.Name, Wait: c.Duration("wait"), Force: c.Bool("force")}
				if options.Theme, err = flags.Theme(c, s, s.Streams.ErrTTY); err != nil {
					return err
				}
				return runDrain(c.Context, s, args[0], options)
			case "prepare":
				if len(args) != 1 {
					return &cmdline.UsageError{Command: "host", Problem: "specify one machine: runnerctl host prepare ssh://USER@VM"}
				}
				options := prepareOptions{config: loaded, dryRun: c.Bool("dry-run"), yes: c.Bool("yes"), allowMetadata: c.Bool("allow-metadata")}
				if options.theme, err = flags.Theme(c, s, s.Streams.OutTTY); err != nil {
					return err
				}
				return runPrepare(c.Context, s, args[0], options)
			}
			if len(args) > 0 {
				return &cmdline.UsageError{Command: "host", Problem: fmt.Sprintf("unexpected argument %q", args[0])}
			}
			switch verb {
			case "cloud-init":
				return writeCloudInit(s.Streams.Out, c.Bool("allow-metadata"))
			default:
				json, err := flags.JSON(c)
				if err != nil {
					return err
				}
				return runHostLs(c.Context, s, loaded, json)
			}
		},
	}}
}

// checkHostWords rejects unknown verbs, and flags of other verbs.
func checkHostWords(c *cli.Context, verb string) error {
	var verbs, own []string
	for name, flags := range hostVerbs {
		verbs = append(verbs, name)
		if name != verb {
			own = append(own, flags...)
		}
	}
	slices.Sort(verbs)
	if _, known := hostVerbs[verb]; !known {
		return &cmdline.UsageError{Command: "host", Problem: "specify an action: " + strings.Join(verbs, ", ")}
	}
	for _, flag := range own {
		if c.IsSet(flag) && !slices.Contains(hostVerbs[verb], flag) {
			return &cmdline.UsageError{Command: "host", Problem: fmt.Sprintf("host %s has no --%s", verb, flag)}
		}
	}
	return nil
}

// runDrain empties one host of the settings.
func runDrain(ctx context.Context, s session.Session, name string, options lifecycle.Down) error {
	names := s.Hosts.Names()
	if !slices.Contains(names, name) {
		problem := fmt.Sprintf("the settings have no host %q", name)
		if near := spelling.Nearest(name, names); near != "" {
			problem += fmt.Sprintf(": did you mean %q?", near)
		}
		return &cmdline.UsageError{Command: "host", Problem: problem}
	}
	s.Host = name
	if err := options.Run(ctx, s); err != nil {
		return err
	}
	if options.Settings.CountOn(name) > 0 {
		fmt.Fprintf(s.Streams.Err, "the next up creates runners on %s again, unless its count: is 0\n", name)
	}
	return nil
}

// hostEntry is one entry of `host ls -o json`.
type hostEntry struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	Count   int    `json:"count"`   // wanted number of runners
	Runners int    `json:"runners"` // runners of the fleet that exist now
	Docker  string `json:"docker"`
	Kernel  string `json:"kernel"`
	CPUs    int    `json:"cpus"`
	Memory  int64  `json:"memory"`
	Problem string `json:"problem,omitempty"`
}

func runHostLs(ctx context.Context, s session.Session, loaded config.Config, json bool) error {
	entries := []hostEntry{}
	var mu sync.Mutex
	failed := session.OnEach(s.Each(), func(s session.Session) error {
		entry, err := lookAtHost(ctx, s, loaded)
		mu.Lock()
		defer mu.Unlock()
		entries = append(entries, entry)
		return err
	})
	order := s.Hosts.Names()
	slices.SortFunc(entries, func(a, b hostEntry) int { return slices.Index(order, a.Name) - slices.Index(order, b.Name) })
	if json {
		return errors.Join(flags.WriteJSON(s.Streams.Out, entries), failed)
	}
	var rows [][]string
	for _, one := range entries {
		row := []string{one.Name, one.Address, fmt.Sprintf("%d/%d", one.Runners, one.Count), one.Docker, one.Kernel, fmt.Sprint(one.CPUs), ui.Bytes(one.Memory)}
		if one.Problem != "" {
			row = []string{one.Name, one.Address, fmt.Sprintf("?/%d", one.Count), "–", "–", "–", "–"}
		}
		rows = append(rows, row)
	}
	ui.Table(s.Streams.Out, []string{"NAME", "ADDRESS", "RUNNERS", "DOCKER", "KERNEL", "CPUS", "MEMORY"}, rows)
	return failed
}

func lookAtHost(ctx context.Context, s session.Session, loaded config.Config) (entry hostEntry, err error) {
	endpoint, err := s.Endpoint()
	entry = hostEntry{Name: endpoint.Name, Address: endpoint.Host, Count: loaded.CountOn(endpoint.Name)}
	defer func() {
		if err != nil {
			entry.Problem = dockerx.Reason(err).Error()
		}
	}()
	if err != nil {
		entry.Name = s.Host
		return entry, err
	}
	engine, _, err := s.Connect()
	if err != nil {
		return entry, err
	}
	defer engine.Close()
	told, err := engine.Facts(ctx)
	if err != nil {
		return entry, err
	}
	entry.Docker, entry.Kernel, entry.CPUs, entry.Memory = told.Version, told.Kernel, told.CPUs, told.Memory
	runners, err := engine.Known(ctx, loaded.Name)
	entry.Runners = len(runners)
	return entry, err
}

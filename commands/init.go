package commands

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/ghapi"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/hint"
	"github.com/runnerctl/runnerctl/internal/session"
)

type initOptions struct {
	file  string
	force bool
	yes   bool
	given map[string]string // answers by flag
	fleet string
}

// question is one question of the wizard: its flag, its text, and how the answer is stored.
type question struct {
	flag, ask, help string
	choices         []string
	preset          func(config.Config) string
	set             func(*config.Config, string) error
}

func questions() []question {
	return []question{
		{flag: "target", ask: "GitHub URL (empty: runners without an agent)", help: "https://github.com/OWNER/REPO, /ORG or /enterprises/E",
			preset: func(c config.Config) string { return c.Target },
			set: func(c *config.Config, text string) error {
				c.Target = text
				if text == "" {
					return nil
				}
				_, err := ghapi.ParseTarget(text)
				return err
			}},
		{flag: "base", ask: "Base image for jobs", choices: []string{"debian:trixie-slim", "ubuntu:24.04", "ubuntu:22.04", "debian:sid-slim"},
			preset: func(c config.Config) string { return c.Image.Base },
			set:    func(c *config.Config, text string) error { c.Image.Base = text; return nil }},
		{flag: "count", ask: "Number of runners", preset: func(c config.Config) string { return strconv.Itoa(c.Runners.Count) },
			set: func(c *config.Config, text string) (err error) {
				if c.Runners.Count, err = strconv.Atoi(text); err != nil {
					return fmt.Errorf("%q is not a whole number", text)
				}
				return nil
			}},
		{flag: "cpus", ask: "CPUs per runner", preset: func(c config.Config) string { return fmt.Sprint(c.Runners.CPUs) },
			set: func(c *config.Config, text string) (err error) {
				if c.Runners.CPUs, err = strconv.ParseFloat(text, 64); err != nil {
					return fmt.Errorf("%q is not a number", text)
				}
				return nil
			}},
		{flag: "memory", ask: "Memory per runner", preset: func(c config.Config) string { return c.Runners.Memory.String() },
			set: func(c *config.Config, text string) (err error) {
				c.Runners.Memory, err = config.ParseSize(text)
				return err
			}},
	}
}

func initCommand(s session.Session) verb {
	own := []cli.Flag{
		&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "use the defaults for settings without a flag"},
		&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "overwrite the file"},
	}
	for _, q := range questions() {
		own = append(own, &cli.StringFlag{Name: q.flag, Usage: q.ask, Category: "Answers"})
	}
	return verb{Command: &cli.Command{
		Name:     "init",
		Category: "Prepare",
		Usage:    "write a commented runnerctl.yaml",
		Description: "Examples:\n" +
			"   runnerctl init\n" +
			"   runnerctl init --yes --count 3 --memory 8GiB",
		Flags: append(flags.Config(), own...),
		Action: func(c *cli.Context) error {
			if err := cmdline.NoArguments(c); err != nil {
				return err
			}
			options := initOptions{file: c.String("config"), force: c.Bool("force"), yes: c.Bool("yes"), fleet: c.String("fleet"), given: map[string]string{}}
			if options.file == "" {
				options.file = config.DefaultFile
			}
			for _, q := range questions() {
				if c.IsSet(q.flag) {
					options.given[q.flag] = c.String(q.flag)
				}
			}
			return runInit(s, options)
		},
	}, offline: true}
}

func runInit(s session.Session, options initOptions) error {
	if _, err := os.Stat(options.file); err == nil && !options.force {
		return hint.Add(fmt.Errorf("%s already exists", options.file), "--force overwrites it")
	}
	wanted := config.Default()
	if options.fleet != "" {
		wanted.Name = options.fleet
	}
	for _, q := range questions() {
		answer, err := answerTo(s, q, options, wanted)
		if err != nil {
			return err
		}
		if err := q.set(&wanted, answer); err != nil {
			return &cmdline.UsageError{Command: "init", Problem: "--" + q.flag + ": " + err.Error()}
		}
	}
	if err := wanted.Validate(); err != nil {
		return err
	}
	var text bytes.Buffer
	if err := config.Write(&text, wanted); err != nil {
		return err
	}
	if err := os.WriteFile(options.file, text.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	fmt.Fprintf(s.Streams.Err, "wrote %s; next: runnerctl doctor, runnerctl build, runnerctl up\n", options.file)
	return nil
}

func answerTo(s session.Session, q question, options initOptions, wanted config.Config) (string, error) {
	if given, ok := options.given[q.flag]; ok {
		return given, nil
	}
	preset := q.preset(wanted)
	if options.yes {
		return preset, nil
	}
	if !s.Asks() {
		return "", &cmdline.UsageError{Command: "init", Problem: "no terminal for questions: use --" + q.flag + ", or --yes for the defaults"}
	}
	var answer string
	var err error
	if q.choices != nil {
		const other = "another image…"
		if answer, err = s.Prompt.Select(q.ask, append(q.choices, other), preset); err == nil && answer == other {
			answer, err = s.Prompt.Input("Image", preset, "any glibc Debian or Ubuntu image", func(string) error { return nil })
		}
	} else {
		answer, err = s.Prompt.Input(q.ask, preset, q.help, func(text string) error {
			trial := wanted
			if err := q.set(&trial, text); err != nil {
				return err
			}
			return trial.Validate()
		})
	}
	return answer, err
}

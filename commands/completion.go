package commands

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/scripts"
)

var shells = []string{"bash", "zsh", "fish"}

func completionCommand(s session.Session) verb {
	return verb{Command: &cli.Command{
		Name:      "completion",
		Category:  "More",
		Usage:     "print a completion script for bash, zsh or fish",
		ArgsUsage: "bash|zsh|fish",
		Description: "Completes commands, flags and their values, and the names of runners and fleets.\n\nExamples:\n" +
			"   source <(runnerctl completion bash)\n" +
			"   runnerctl completion zsh > \"${fpath[1]}/_runnerctl\"\n" +
			"   runnerctl completion fish > ~/.config/fish/completions/runnerctl.fish",
		Action: func(c *cli.Context) error {
			shell := c.Args().First()
			if c.NArg() != 1 || !slices.Contains(shells, shell) {
				return &cmdline.UsageError{Command: "completion", Problem: "specify a shell: bash, zsh or fish"}
			}
			script, err := scripts.Completion.ReadFile(path.Join("completion", shell))
			if err != nil {
				return err
			}
			_, err = s.Streams.Out.Write(script)
			return err
		},
	}, arguments: cmdline.Candidates{Words: shells, Most: 1}, offline: true}
}

// completeLimit bounds the engine's answer, because a user waits at a prompt.
const completeLimit = time.Second

// completeCommand answers the completion scripts. It prints one line for each possible
// completion of the last word, with its meaning after a tab.
func completeCommand(s session.Session) verb {
	return verb{Command: &cli.Command{
		Name:            "__complete",
		Usage:           "answer the completion scripts",
		Hidden:          true,
		SkipFlagParsing: true,
		Action: func(c *cli.Context) error {
			for _, one := range cmdline.From(c).Complete(c.Args().Slice(), func(kind string) []string { return lookUpNames(c.Context, s, kind) }) {
				fmt.Fprintln(s.Streams.Out, strings.TrimSuffix(one.Term+"\t"+one.Text, "\t"))
			}
			return nil
		},
	}}
}

// lookUpNames returns no names if no engine answers: then there is nothing to complete.
func lookUpNames(ctx context.Context, s session.Session, kind string) []string {
	if kind == flags.HostNames {
		return s.Hosts.Names()
	}
	ctx, cancel := context.WithTimeout(ctx, completeLimit)
	defer cancel()
	var mu sync.Mutex
	var all []string
	_ = session.OnEach(s.Each(), func(s session.Session) error { // offer the names from the engines that answer
		engine, _, err := s.Connect()
		if err != nil {
			return err
		}
		defer engine.Close()
		list := engine.Fleets
		if kind == flags.RunnerNames {
			list = engine.RunnerNames
		}
		found, err := list(ctx)
		mu.Lock()
		defer mu.Unlock()
		all = append(all, found...)
		return err
	})
	return unique(all...)
}

// unique returns the names without repetitions, in their order.
func unique(names ...string) []string {
	var out []string
	seen := map[string]bool{}
	for _, name := range names {
		if !seen[name] {
			seen[name] = true
			out = append(out, name)
		}
	}
	return out
}

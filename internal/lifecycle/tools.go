package lifecycle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/machine"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/tools"
)

// WarmTools are the options of cache warm for tools.
type WarmTools struct {
	Fleet
	Tools  []string // to install, like node@22
	Runner string   // whose tools are copied; "": none
}

// Run adds tools to the caches of all hosts that the session covers. Runners that start later find them.
func (o WarmTools) Run(ctx context.Context, s session.Session) error {
	if o.Settings.Cache.Size == 0 {
		return &config.Error{Field: "cache.size", Problem: "the cache is off"}
	}
	for _, one := range o.Tools {
		if !tools.Known(one) {
			return &config.Error{Field: "--tool " + one, Problem: "expected one of " + strings.Join(tools.Names, ", ") + " with a version, like node@22"}
		}
	}
	return session.OnEach(s.Each(), func(s session.Session) error {
		// A runner of this role has the host's tools writable.
		_, err := o.withOne(ctx, s, fleet.Preload, func(h Host, name string) error { return o.fill(ctx, h, name) })
		return err
	})
}

func (o WarmTools) fill(ctx context.Context, h Host, name string) error {
	to, err := h.Engine.Runner(ctx, name)
	if err != nil {
		return err
	}
	if len(o.Tools) > 0 {
		installed, err := h.inside(ctx, to, false, tools.Command(h.Settings.Cache.ToolsFrom, o.Tools)...)
		if err != nil {
			return fmt.Errorf("%s: %w", h.Env.Known.Endpoint, err)
		}
		if installed != "" {
			fmt.Fprintln(h.Streams.Out, installed)
		}
	}
	if o.Runner == "" {
		return nil
	}
	from, err := h.Engine.Runner(ctx, o.Runner)
	if err != nil {
		return err
	}
	return h.copyTools(ctx, from, to)
}

// copyTools copies a runner's tools to another runner, except those that it has.
func (h Host) copyTools(ctx context.Context, from, to fleet.Runner) error {
	reader, writer := io.Pipe()
	var problems bytes.Buffer
	ended := make(chan error, 1)
	go func() {
		code, err := h.Engine.Exec(ctx, from, dockerx.Command{Args: []string{"tar", "-cC", machine.ToolsPlace, "."}, Root: true, Stdout: writer, Stderr: &problems})
		if err == nil && code != 0 {
			err = fmt.Errorf("runner %s: tar: code %d: %s", from.Name, code, strings.TrimSpace(problems.String()))
		}
		_ = writer.CloseWithError(err)
		ended <- err
	}()
	var out, errs bytes.Buffer
	code, err := h.Engine.Exec(ctx, to, dockerx.Command{Args: []string{"tar", "-xpC", machine.ToolsPlace, "--skip-old-files"}, Root: true, Stdin: reader, Stdout: &out, Stderr: &errs})
	_ = reader.Close()
	if err == nil && code != 0 {
		err = fmt.Errorf("runner %s: tar: code %d: %s", to.Name, code, strings.TrimSpace(errs.String()))
	}
	return errors.Join(err, <-ended)
}

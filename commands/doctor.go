package commands

import (
	"context"
	"encoding/json"
	"errors"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/doctor"
	"github.com/runnerctl/runnerctl/internal/ui"
)

type doctorOptions struct {
	config config.Config
	json   bool
	theme  ui.Theme
}

func doctorCommand(d deps) *cli.Command {
	return &cli.Command{
		Name:  "doctor",
		Usage: "tell whether this machine's engine can run runners, and what to do if not",
		Description: "Exits 1 if a required check fails.\n\nExamples:\n" +
			"   runnerctl doctor\n" +
			"   runnerctl doctor -o json",
		Flags: append(configFlags(), outputFlag(), colorFlag()),
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			loaded, err := settings(c)
			if err != nil {
				return err
			}
			options := doctorOptions{config: loaded}
			if options.json, err = wantJSON(c); err != nil {
				return err
			}
			if options.theme, err = theme(c, d, d.streams.OutTTY); err != nil {
				return err
			}
			return runDoctor(c.Context, d, options)
		},
	}
}

func runDoctor(ctx context.Context, d deps, options doctorOptions) error {
	facts, err := doctorFacts(ctx, d, options.config)
	if err != nil {
		return err
	}
	report := doctor.Run(ctx, doctor.Catalogue(), facts, func(doctor.Result) {})
	if options.json {
		encoder := json.NewEncoder(d.streams.Out)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(report); err != nil {
			return err
		}
	} else {
		writeReport(d.streams.Out, report, options.theme)
	}
	if report.Failed() {
		return errFailed
	}
	return nil
}

// doctorFacts asks no engine where a local one is refused: the report says why.
func doctorFacts(ctx context.Context, d deps, wanted config.Config) (doctor.Facts, error) {
	engine, endpoint, err := connect(d)
	var refusal *doctor.LocalRefusal
	if errors.As(err, &refusal) {
		return doctor.Facts{ClientOS: d.goos, Endpoint: endpoint.Host, EngineErr: refusal}, nil
	}
	if err != nil {
		return doctor.Facts{}, err
	}
	defer engine.Close()
	return gatherFacts(ctx, d, engine, endpoint, wanted), nil
}

func doctorStyle(theme ui.Theme) doctor.Style {
	return doctor.Style{OK: theme.OK, Fail: theme.Fail, Warn: theme.Warn, Dim: theme.Dim}
}

// writeReport prints the checks as wide as w is.
func writeReport(w io.Writer, report doctor.Report, theme ui.Theme) {
	style, columns := doctorStyle(theme), ui.Columns(w)
	style.Narrow = columns > 0 && columns < ui.Narrow
	doctor.WriteText(w, report, style)
}

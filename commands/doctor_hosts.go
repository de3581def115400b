package commands

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/internal/session"
)

// doctorEverywhere runs doctor for every host that the command covers. It prints the reports
// one below the other, or for programs one object with the hosts' names as keys.
func doctorEverywhere(ctx context.Context, s session.Session, options doctorOptions) error {
	all := s.Each()
	if len(all) == 1 {
		options.config.Runners.Count = max(1, s.CountOn(options.config))
		return runDoctor(ctx, s, options)
	}
	if options.deep || options.fixScript || options.image != "" {
		_, err := s.Endpoint() // fails and asks for one host
		return err
	}
	reports := map[string]*bytes.Buffer{}
	for i, one := range all {
		reports[one.Host] = &bytes.Buffer{}
		all[i].Streams.Out = reports[one.Host]
	}
	failed := session.OnEvery(all, func(s session.Session) error {
		options := options
		options.config.Runners.Count = max(1, options.config.CountOn(s.Host))
		return runDoctor(ctx, s, options)
	})
	if options.json {
		whole := map[string]json.RawMessage{}
		for name, report := range reports {
			if report.Len() > 0 {
				whole[name] = report.Bytes()
			}
		}
		if err := flags.WriteJSON(s.Streams.Out, map[string]any{"hosts": whole}); err != nil {
			return err
		}
		return failed
	}
	for _, one := range all {
		fmt.Fprintf(s.Streams.Out, "%s\n", options.theme.Bold("Host "+one.Host))
		fmt.Fprintf(s.Streams.Out, "%s\n", reports[one.Host])
	}
	return failed
}

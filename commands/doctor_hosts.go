package commands

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
)

// doctorEverywhere runs doctor for every host that the command covers. It prints the reports
// one below the other, or for programs one object with the hosts' names as keys.
func doctorEverywhere(ctx context.Context, d deps, options doctorOptions) error {
	all := eachHost(d)
	if len(all) == 1 {
		options.config.Runners.Count = max(1, countOn(d, options.config))
		return runDoctor(ctx, d, options)
	}
	if options.deep || options.fixScript || options.image != "" {
		_, err := endpointOf(d) // fails and asks for one host
		return err
	}
	reports := map[string]*bytes.Buffer{}
	for i, one := range all {
		reports[one.host] = &bytes.Buffer{}
		all[i].streams.Out = reports[one.host]
	}
	failed := onEvery(all, func(d deps) error {
		options := options
		options.config.Runners.Count = max(1, options.config.CountOn(d.host))
		return runDoctor(ctx, d, options)
	})
	if options.json {
		whole := map[string]json.RawMessage{}
		for name, report := range reports {
			if report.Len() > 0 {
				whole[name] = report.Bytes()
			}
		}
		if err := writeJSON(d.streams.Out, map[string]any{"hosts": whole}); err != nil {
			return err
		}
		return failed
	}
	for _, one := range all {
		fmt.Fprintf(d.streams.Out, "%s\n", options.theme.Bold("Host "+one.host))
		fmt.Fprintf(d.streams.Out, "%s\n", reports[one.host])
	}
	return failed
}

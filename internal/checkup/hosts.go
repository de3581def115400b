package checkup

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// RunEverywhere checks every host that the session covers. It prints the reports one below the
// other, or as JSON one object with the hosts' names as keys.
func (o Options) RunEverywhere(ctx context.Context, s session.Session) error {
	all := s.Each()
	if len(all) == 1 {
		o.Settings.Runners.Count = max(1, s.CountOn(o.Settings))
		return o.Run(ctx, s)
	}
	if o.Deep || o.FixScript || o.Image != "" {
		_, err := s.Endpoint() // fails and asks for one host
		return err
	}
	reports := map[string]*bytes.Buffer{}
	for i, one := range all {
		reports[one.Host] = &bytes.Buffer{}
		all[i].Streams.Out = reports[one.Host]
	}
	failed := session.OnEvery(all, func(s session.Session) error {
		own := o
		own.Settings.Runners.Count = max(1, o.Settings.CountOn(s.Host))
		return own.Run(ctx, s)
	})
	if o.JSON {
		whole := map[string]json.RawMessage{}
		for name, report := range reports {
			if report.Len() > 0 {
				whole[name] = report.Bytes()
			}
		}
		if err := ui.WriteJSON(s.Streams.Out, map[string]any{"hosts": whole}); err != nil {
			return err
		}
		return failed
	}
	for _, one := range all {
		fmt.Fprintf(s.Streams.Out, "%s\n", o.Theme.Bold("Host "+one.Host))
		fmt.Fprintf(s.Streams.Out, "%s\n", reports[one.Host])
	}
	return failed
}

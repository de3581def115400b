package hosts

import (
	"context"
	"fmt"
	"slices"

	"github.com/runnerctl/runnerctl/internal/lifecycle"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/spelling"
)

// Drain brings the fleet down on one of the settings' hosts.
func Drain(ctx context.Context, s session.Session, name string, down lifecycle.Down) error {
	names := s.Hosts.Names()
	if !slices.Contains(names, name) {
		problem := fmt.Sprintf("the settings have no host %q", name)
		if near := spelling.Nearest(name, names); near != "" {
			problem += fmt.Sprintf(": did you mean %q?", near)
		}
		return &session.UsageError{Problem: problem}
	}
	s.Host = name
	if err := down.Run(ctx, s); err != nil {
		return err
	}
	if down.Settings.CountOn(name) > 0 {
		fmt.Fprintf(s.Streams.Err, "the next up creates runners on %s again, unless its count: is 0\n", name)
	}
	return nil
}

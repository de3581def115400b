package ghapi

import (
	"context"
	"errors"
	"time"

	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/secret"
)

// Forge is the part of a target that concerns one fleet of one engine: the
// registrations that bear its marker.
type Forge struct {
	client *Client
	marker string
	group  int64
	system []string
}

var (
	_ fleet.Forge  = (*Forge)(nil)
	_ fleet.Ages   = (*Forge)(nil)
	_ fleet.Queues = (*Forge)(nil)
)

// NewForge shows a target as fleet sees it. groupID and arch (the engine's, as
// uname says it) are for Register only.
func NewForge(client *Client, marker string, groupID int64, arch string) *Forge {
	return &Forge{client: client, marker: marker, group: groupID, system: systemLabels(arch)}
}

// workFolder is below the agent's own.
const workFolder = "_work"

// systemLabels are those that an agent which registers itself adds; a JIT
// configuration has only what it is asked for.
func systemLabels(arch string) []string {
	names := map[string]string{"x86_64": "X64", "amd64": "X64", "aarch64": "ARM64", "arm64": "ARM64"}
	if name := names[arch]; name != "" {
		arch = name
	}
	return []string{"self-hosted", "Linux", arch}
}

// Register is fleet.Forge's.
func (f *Forge) Register(ctx context.Context, name string, agent fleet.Agent) (secret.Text, error) {
	if agent.Mode == fleet.Token {
		return f.client.RegistrationToken(ctx)
	}
	_, credential, err := f.client.GenerateJIT(ctx, name, f.group, append(f.system[:len(f.system):len(f.system)], agent.Labels...), workFolder)
	return credential, err
}

// Registrations is fleet.Forge's.
func (f *Forge) Registrations(ctx context.Context) ([]fleet.Registration, error) {
	all, err := f.client.Runners(ctx)
	var ours []fleet.Registration
	for _, one := range all {
		if one.HasLabels([]string{f.marker}) {
			ours = append(ours, f.registration(one))
		}
	}
	return ours, err
}

// Find is fleet.Forge's.
func (f *Forge) Find(ctx context.Context, name string) (*fleet.Registration, error) {
	found, err := f.client.RunnerByName(ctx, name)
	if err != nil || found == nil || !found.HasLabels([]string{f.marker}) {
		return nil, err
	}
	registration := f.registration(*found)
	return &registration, nil
}

// Unregister is fleet.Forge's.
func (f *Forge) Unregister(ctx context.Context, registration fleet.Registration) error {
	err := f.client.Remove(ctx, registration.ID)
	var busy *BusyError
	if errors.As(err, &busy) {
		return &fleet.BusyError{Name: registration.Name, Err: err}
	}
	return err
}

// JobURLs is fleet.Forge's.
func (f *Forge) JobURLs(ctx context.Context) (map[string]string, error) { return f.client.JobURLs(ctx) }

// Deprecated is fleet.Ages's.
func (f *Forge) Deprecated(ctx context.Context, version string) (time.Time, error) {
	when, _, err := f.client.Deprecation(ctx, version)
	return when.First(), err
}

// Queued is fleet.Queues's.
func (f *Forge) Queued(ctx context.Context, jobURL, runner string) (time.Duration, error) {
	return f.client.Queued(ctx, jobURL, runner)
}

func (f *Forge) registration(one Runner) fleet.Registration {
	return fleet.Registration{URL: f.client.target.URL(), ID: one.ID, Name: one.Name, Online: one.Online, Busy: one.Busy}
}

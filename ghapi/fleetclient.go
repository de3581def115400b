package ghapi

import (
	"context"
	"errors"
	"time"

	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/secret"
)

// FleetClient is the part of a target that belongs to one fleet on one engine: the registrations
// with its marker.
type FleetClient struct {
	client *Client
	marker string
	group  int64
	system []string
}

var (
	_ fleet.GitHub = (*FleetClient)(nil)
	_ fleet.Ages   = (*FleetClient)(nil)
	_ fleet.Queues = (*FleetClient)(nil)
)

// NewFleetClient returns a target in the form that package fleet needs. groupID and arch (the
// engine's, as printed by uname) are used by Register only.
func NewFleetClient(client *Client, marker string, groupID int64, arch string) *FleetClient {
	return &FleetClient{client: client, marker: marker, group: groupID, system: systemLabels(arch)}
}

// workFolder is relative to the agent's own folder.
const workFolder = "_work"

// systemLabels returns the labels that an agent adds when it registers itself. A JIT
// configuration has only the labels in the request.
func systemLabels(arch string) []string {
	names := map[string]string{"x86_64": "X64", "amd64": "X64", "aarch64": "ARM64", "arm64": "ARM64"}
	if name := names[arch]; name != "" {
		arch = name
	}
	return []string{"self-hosted", "Linux", arch}
}

// Register implements fleet.GitHub.
func (f *FleetClient) Register(ctx context.Context, name string, agent fleet.Agent) (secret.Text, error) {
	if agent.Mode == fleet.Token {
		return f.client.RegistrationToken(ctx)
	}
	_, credential, err := f.client.GenerateJIT(ctx, name, f.group, append(f.system[:len(f.system):len(f.system)], agent.Labels...), workFolder)
	return credential, err
}

// Registrations implements fleet.GitHub.
func (f *FleetClient) Registrations(ctx context.Context) ([]fleet.Registration, error) {
	all, err := f.client.Runners(ctx)
	var ours []fleet.Registration
	for _, one := range all {
		if one.HasLabels([]string{f.marker}) {
			ours = append(ours, f.registration(one))
		}
	}
	return ours, err
}

// Find implements fleet.GitHub.
func (f *FleetClient) Find(ctx context.Context, name string) (*fleet.Registration, error) {
	found, err := f.client.RunnerByName(ctx, name)
	if err != nil || found == nil || !found.HasLabels([]string{f.marker}) {
		return nil, err
	}
	registration := f.registration(*found)
	return &registration, nil
}

// Unregister implements fleet.GitHub.
func (f *FleetClient) Unregister(ctx context.Context, registration fleet.Registration) error {
	err := f.client.Remove(ctx, registration.ID)
	var busy *BusyError
	if errors.As(err, &busy) {
		return &fleet.BusyError{Name: registration.Name, Err: err}
	}
	return err
}

// JobURLs implements fleet.GitHub.
func (f *FleetClient) JobURLs(ctx context.Context) (map[string]string, error) {
	return f.client.JobURLs(ctx)
}

// Deprecated implements fleet.Ages.
func (f *FleetClient) Deprecated(ctx context.Context, version string) (time.Time, error) {
	when, _, err := f.client.Deprecation(ctx, version)
	return when.First(), err
}

// Queued implements fleet.Queues.
func (f *FleetClient) Queued(ctx context.Context, jobURL, runner string) (time.Duration, error) {
	return f.client.Queued(ctx, jobURL, runner)
}

func (f *FleetClient) registration(one Runner) fleet.Registration {
	return fleet.Registration{URL: f.client.target.URL(), ID: one.ID, Name: one.Name, Online: one.Online, Busy: one.Busy}
}

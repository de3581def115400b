package session

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/doctor"
	"github.com/runnerctl/runnerctl/internal/hint"
)

// Inventory is the settings' list of hosts, or the error that kept it from being read.
type Inventory struct {
	All []config.Host
	Err error
}

// Connect opens the one engine that a command is about; it sends nothing yet.
func (s Session) Connect() (*dockerx.Engine, dockerx.Endpoint, error) {
	endpoint, err := s.Endpoint()
	if err != nil {
		return nil, endpoint, err
	}
	if err := doctor.RefuseLocal(s.GOOS, endpoint.Host); err != nil {
		return nil, endpoint, err
	}
	engine, err := dockerx.Connect(endpoint)
	return engine, endpoint, err
}

// Endpoint returns the one engine that a command is about.
func (s Session) Endpoint() (dockerx.Endpoint, error) {
	if s.Hosts.Err != nil {
		return dockerx.Endpoint{}, s.Hosts.Err
	}
	names := s.Hosts.Names()
	switch name := s.Host; {
	case name == "" && len(names) == 0:
		return dockerx.FindEndpoint(s.Env)
	case name == "" && len(names) > 1:
		return dockerx.Endpoint{}, &SeveralHostsError{names}
	case name == "":
		return s.Hosts.endpoint(s.Env, names[0])
	case slices.Contains(names, name):
		return s.Hosts.endpoint(s.Env, name)
	default:
		endpoint, err := dockerx.Resolve(s.Env, name)
		if err != nil && len(names) > 0 && !strings.Contains(name, "://") {
			err = hint.Add(err, "the settings' hosts are "+strings.Join(names, ", "))
		}
		return endpoint, err
	}
}

// Names lists the hosts' names.
func (i Inventory) Names() (names []string) {
	for _, host := range i.All {
		names = append(names, host.Name)
	}
	return names
}

func (i Inventory) endpoint(env func(string) string, name string) (dockerx.Endpoint, error) {
	for _, host := range i.All {
		if host.Name != name {
			continue
		}
		endpoint, err := dockerx.Resolve(env, host.Address)
		endpoint.Name = name
		if err != nil {
			err = fmt.Errorf("hosts: %s: %w", name, err)
		}
		return endpoint, err
	}
	return dockerx.Endpoint{}, errors.New("hosts: no " + name)
}

// SeveralHostsError reports a command that needs one host while the settings have several.
type SeveralHostsError struct{ names []string }

func (e *SeveralHostsError) Error() string {
	return "which host? the settings have " + strings.Join(e.names, ", ")
}

// Hint shows how to choose one.
func (e *SeveralHostsError) Hint() string { return "--host " + e.names[0] }

// CountOn returns the wanted number of runners on the one host that a command is about.
func (s Session) CountOn(loaded config.Config) int {
	name := s.Host
	if names := s.Hosts.Names(); name == "" && len(names) == 1 {
		name = names[0]
	}
	return loaded.CountOn(name)
}

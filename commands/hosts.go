package commands

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/doctor"
	"github.com/runnerctl/runnerctl/internal/hint"
)

func hostFlag() cli.Flag {
	return &cmdline.Choice{Flag: &cli.StringFlag{Name: "host", Usage: "the machine `HOST`: a name in the file's hosts:, a docker context, ssh://user@vm, tcp:// with TLS, unix://", DefaultText: "the file's hosts:, else docker's own choice", EnvVars: []string{"RUNNERCTL_HOST"}, Category: "Settings"}, Candidates: cmdline.Candidates{Kind: hostNames}}
}

// inventory is the settings' list of hosts, or the error that kept it from being read.
type inventory struct {
	hosts []config.Host
	err   error
}

// wantedHost finds the host before the command line is parsed: every command connects, but not
// every command has the settings at hand.
func wantedHost(app *cmdline.App, args []string, env func(string) string) (string, inventory) {
	file := cmp.Or(app.FlagValue(args, "config", "c"), env("RUNNERCTL_CONFIG"))
	host := cmp.Or(app.FlagValue(args, "host"), env("RUNNERCTL_HOST"))
	if _, err := os.Stat(config.DefaultFile); file == "" && err != nil {
		return host, inventory{}
	}
	loaded, err := config.Load(cmp.Or(file, config.DefaultFile))
	return host, inventory{loaded.Hosts, err}
}

// connect opens the one engine that a command is about; it sends nothing yet.
func connect(d deps) (*dockerx.Engine, dockerx.Endpoint, error) {
	endpoint, err := endpointOf(d)
	if err != nil {
		return nil, endpoint, err
	}
	if err := doctor.RefuseLocal(d.goos, endpoint.Host); err != nil {
		return nil, endpoint, err
	}
	engine, err := dockerx.Connect(endpoint)
	return engine, endpoint, err
}

func endpointOf(d deps) (dockerx.Endpoint, error) {
	if d.hosts.err != nil {
		return dockerx.Endpoint{}, d.hosts.err
	}
	names := d.hosts.names()
	switch name := d.host; {
	case name == "" && len(names) == 0:
		return dockerx.FindEndpoint(d.env)
	case name == "" && len(names) > 1:
		return dockerx.Endpoint{}, &severalHostsError{names}
	case name == "":
		return d.hosts.endpoint(d.env, names[0])
	case slices.Contains(names, name):
		return d.hosts.endpoint(d.env, name)
	default:
		endpoint, err := dockerx.Resolve(d.env, name)
		if err != nil && len(names) > 0 && !strings.Contains(name, "://") {
			err = hint.Add(err, "the settings' hosts are "+strings.Join(names, ", "))
		}
		return endpoint, err
	}
}

func (i inventory) names() (names []string) {
	for _, host := range i.hosts {
		names = append(names, host.Name)
	}
	return names
}

func (i inventory) endpoint(env func(string) string, name string) (dockerx.Endpoint, error) {
	for _, host := range i.hosts {
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

// severalHostsError reports a command that needs one host while the settings have several.
type severalHostsError struct{ names []string }

func (e *severalHostsError) Error() string {
	return "which host? the settings have " + strings.Join(e.names, ", ")
}

// Hint shows how to choose one.
func (e *severalHostsError) Hint() string { return "--host " + e.names[0] }

// countOn returns the wanted number of runners on the one host that a command is about.
func countOn(d deps, loaded config.Config) int {
	name := d.host
	if names := d.hosts.names(); name == "" && len(names) == 1 {
		name = names[0]
	}
	return loaded.CountOn(name)
}

package lifecycle

import (
	"errors"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/ghapi"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/export"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/hint"
)

// Exported returns the fleet of the settings as other tools start it, of an image. It asks neither
// an engine nor GitHub, so its networks are those of a host with no others.
func Exported(settings config.Config, image string) (export.Fleet, error) {
	if settings.Target == "" {
		return export.Fleet{}, hint.Add(errors.New("the settings have no target, so a runner would get no jobs"), "set target: in runnerctl.yaml")
	}
	target, err := ghapi.ParseTarget(settings.Target)
	if err != nil {
		return export.Fleet{}, err
	}
	spec, err := specOf(settings, Image{Tag: image})
	if err != nil {
		return export.Fleet{}, err
	}
	if spec.DockerStart == fleet.DefaultStart && settings.Runners.Ephemeral { // as with an agent of runnerctl
		spec.DockerStart = fleet.OnDemand
	}
	if spec.Bip, spec.Pool, err = fleet.Pools(nil, nil); err != nil {
		return export.Fleet{}, err
	}
	runners := settings.Runners
	return export.Fleet{
		Name: settings.Name, Target: target, URL: settings.Target, Count: runners.Count, Spares: runners.Spares,
		Ephemeral: runners.Ephemeral, Labels: runners.Labels, Group: runners.Group, Runner: dockerx.Define(spec),
	}, nil
}

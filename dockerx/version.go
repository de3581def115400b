package dockerx

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
)

// RunnerNames lists the names of all fleets' runners, sorted. It takes one quick call;
// Runners looks into each runner.
func (e *Engine) RunnerNames(ctx context.Context) ([]string, error) {
	list, err := e.api.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", labelRole+"="+roleRunner))})
	if err != nil {
		return nil, fmt.Errorf("list runners: %w", err)
	}
	names := make([]string, 0, len(list))
	for _, one := range list {
		names = append(names, strings.TrimPrefix(one.Names[0], "/"))
	}
	slices.Sort(names)
	return names, nil
}

// Version returns the version of the engine and the version of its API.
func (e *Engine) Version(ctx context.Context) (version, api string, err error) {
	server, err := e.api.ServerVersion(ctx)
	if err != nil {
		return "", "", err
	}
	return server.Version, server.APIVersion, nil
}

// Ping checks that the engine answers.
func (e *Engine) Ping(ctx context.Context) error {
	_, err := e.api.Ping(ctx)
	return err
}

// ImageVersion returns the runnerctl version in an image's label.
func (e *Engine) ImageVersion(ctx context.Context, reference string) (string, error) {
	return e.imageLabel(ctx, reference, "org.opencontainers.image.version")
}

// ImageAgent returns the version of an image's agent, or its archive's hash; "" if the image
// has no agent.
func (e *Engine) ImageAgent(ctx context.Context, reference string) (string, error) {
	return e.imageLabel(ctx, reference, LabelAgent)
}

func (e *Engine) imageLabel(ctx context.Context, reference, label string) (string, error) {
	info, err := e.api.ImageInspect(ctx, reference)
	if err != nil {
		return "", fmt.Errorf("image %s: %w", reference, err)
	}
	return info.Config.Labels[label], nil
}

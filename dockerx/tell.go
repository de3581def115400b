package dockerx

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
)

// RunnerNames lists the names of every fleet's runners, in order: one quick
// call, where Runners looks into each.
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

// Version is the engine's own, and that of its API.
func (e *Engine) Version(ctx context.Context) (version, api string, err error) {
	told, err := e.api.ServerVersion(ctx)
	if err != nil {
		return "", "", err
	}
	return told.Version, told.APIVersion, nil
}

// Ping asks the engine for a sign of life.
func (e *Engine) Ping(ctx context.Context) error {
	_, err := e.api.Ping(ctx)
	return err
}

// ImageVersion is the runnerctl version that an image is labelled with.
func (e *Engine) ImageVersion(ctx context.Context, reference string) (string, error) {
	return e.imageLabel(ctx, reference, "org.opencontainers.image.version")
}

// ImageAgent is the version of the agent that an image holds, or its archive's hash;
// "" where it holds none.
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

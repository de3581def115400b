package lifecycle

import (
	"context"
	"slices"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/access"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/hostcache"
)

// cacheSpec is the use of the host's cache by the fleet's runners; nil: none.
func (h Host) cacheSpec() *fleet.Cache {
	wanted := h.Settings.Cache
	if wanted.Size == 0 {
		return nil
	}
	return &fleet.Cache{Actions: wanted.Actions && h.Target != nil, Registries: wanted.Registries}
}

// preloadName names the images and tools that runners begin with; "" if there are none.
func (h Host) preloadName(of Image) string {
	wanted := h.Settings.Cache
	if len(wanted.Preload)+len(wanted.Tools) == 0 {
		return ""
	}
	contents := slices.Clone(wanted.Preload)
	for _, tool := range wanted.Tools {
		contents = append(contents, wanted.ToolsFrom+" "+tool)
	}
	return dockerx.PreloadName(of.ID, contents)
}

// preloaded is the volume with the images and tools that runners begin with; "" while there is none.
func (h Host) preloaded(ctx context.Context, of Image) (string, error) {
	name := h.preloadName(of)
	if name == "" {
		return "", nil
	}
	return h.Engine.Preloaded(ctx, name)
}

// ensureCache starts the host's cache, if the fleet uses it. Other fleets may have started it for
// another GitHub, which it then goes on to serve.
func (h Host) ensureCache(ctx context.Context, binary string) error {
	wanted, err := hostcache.ConfigOf(h.Settings)
	if err != nil || wanted == nil {
		return err
	}
	own, err := access.CAs(h.Settings)
	if err != nil {
		return err
	}
	logins, err := hostcache.LoginsOf(h.Settings)
	if err != nil {
		return err
	}
	return hostcache.Wanted{Config: *wanted, Binary: binary, Logins: logins, Roots: access.RootsWith(own)}.Ensure(ctx, h.Engine)
}

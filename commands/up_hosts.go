package commands

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/hint"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// upEverywhere runs up on every host that the command covers. The image is built on one host
// of each architecture and moved to the others. countGiven reports whether --count was set.
func upEverywhere(ctx context.Context, d deps, options upOptions, countGiven bool) error {
	all := eachHost(d)
	if len(all) == 1 {
		if options.config.Runners.Count == 0 {
			return noneWanted(d)
		}
		return runUp(ctx, d, options)
	}
	if countGiven {
		return hint.Add(&cmdline.UsageError{Command: "up", Problem: "--count: of which host?"}, "--host NAME --count N, or a count: of each in the file's hosts:")
	}
	var wanted []deps
	for _, one := range all {
		if options.config.CountOn(one.host) == 0 {
			fmt.Fprintln(one.streams.Err, "count: 0, so nothing is started there")
			continue
		}
		wanted = append(wanted, one)
	}
	fit, failed := moveImage(ctx, d, wanted, options)
	if len(fit) == 0 || ctx.Err() != nil {
		return failed
	}
	return errors.Join(failed, onEvery(fit, func(d deps) error {
		options := options
		options.config.Runners.Count = options.config.CountOn(d.host)
		return runUp(ctx, d, options)
	}))
}

// noTwins rejects engines with the same id. A fleet's registrations carry that id, so each
// engine would take the registrations of the other for leftovers, and remove them.
func noTwins(all []*hostEngine) error {
	names := map[string]string{}
	for _, one := range all {
		if twin, known := names[one.own]; known {
			return hint.Add(fmt.Errorf("hosts %s and %s: both engines have the id %s, so GitHub's runners of the two can't be told apart", twin, one.deps.host, one.own),
				"one machine twice? name it once; a copy of a machine? there: rm /etc/docker/key.json, rm engine-id in the engine's data-root, and restart the engine")
		}
		names[one.own] = one.deps.host
	}
	return nil
}

func noneWanted(d deps) error {
	return &config.Error{Field: "hosts", Problem: "count: 0 for this host", Advice: "runnerctl host drain " + d.host + " removes what is there; --count N starts some all the same"}
}

// hostEngine is the engine of a host that answered.
type hostEngine struct {
	deps   deps
	engine *dockerx.Engine
	arch   string
	own    string // the engine's id
	id     string // id of the image; "" if the engine does not have it
}

// moveImage makes the fleet's image on one host of each architecture, unless a host has it
// already, and moves it to the others. fit are the hosts that have it afterwards. In a dry run
// nothing is made or moved.
func moveImage(ctx context.Context, d deps, all []deps, options upOptions) (fit []deps, err error) {
	answered, err := reachAll(ctx, all, options)
	defer func() {
		for _, one := range answered {
			one.engine.Close()
		}
	}()
	if options.config.Target != "" {
		if err := noTwins(answered); err != nil {
			return nil, err
		}
	}
	if options.dryRun || ctx.Err() != nil {
		for _, one := range answered {
			fit = append(fit, one.deps)
		}
		return fit, err
	}
	failures := []error{err}
	sources := map[string]*hostEngine{} // by architecture
	for _, one := range answered {
		if best := sources[one.arch]; best == nil || best.id == "" && one.id != "" {
			sources[one.arch] = one
		}
	}
	for _, source := range sources {
		if err := moveFrom(ctx, d, source, answered, options, &fit); err != nil {
			failures = append(failures, err)
		}
	}
	return fit, errors.Join(failures...)
}

// reachAll asks all hosts in parallel about their engine and image.
func reachAll(ctx context.Context, all []deps, options upOptions) (answered []*hostEngine, err error) {
	found := make([]*hostEngine, len(all))
	byName := map[string]int{}
	for i, one := range all {
		byName[one.host] = i
	}
	err = onEvery(all, func(d deps) error {
		one, err := lookForImage(ctx, d, options)
		if err != nil && ctx.Err() == nil { // now, not after the others are done
			fmt.Fprintf(d.streams.Err, "left out: %s\n", hint.FirstLine(err))
		}
		found[byName[d.host]] = one
		return err
	})
	for _, one := range found {
		if one != nil {
			answered = append(answered, one)
		}
	}
	return answered, err
}

// lookForImage connects to a host, and finds the image if its engine has it.
func lookForImage(ctx context.Context, d deps, options upOptions) (*hostEngine, error) {
	engine, _, err := connect(d)
	if err != nil {
		return nil, err
	}
	one := &hostEngine{deps: d, engine: engine}
	told, err := engine.Facts(ctx)
	if err == nil {
		one.arch, one.own = told.Arch, told.ID
		_, one.id, err = plannedImage(ctx, d, engine, options.config)
	}
	if err != nil {
		engine.Close()
		return nil, err
	}
	return one, nil
}

// moveFrom makes sure that the source has the image, and moves it with its bases to the hosts
// of the same architecture. There up finds it as if it had been built there.
func moveFrom(ctx context.Context, d deps, source *hostEngine, all []*hostEngine, options upOptions, fit *[]deps) error {
	name := source.deps.host
	builder := d
	builder.host = name
	tag, _, built, err := ensureImage(ctx, builder, source.engine, options.build)
	if err != nil {
		return ofHost(name, err)
	}
	if built {
		fmt.Fprintf(d.streams.Err, "image  %s %s (built on %s)\n", options.theme.Check(), tag, name)
	}
	references := append([]string{tag}, options.config.Image.Bases()...)
	*fit = append(*fit, source.deps)
	live := ui.NewLive(d.streams.Err, d.redraws(), options.theme)
	defer live.Close()
	var targets []deps
	engines := map[string]*dockerx.Engine{}
	for _, one := range all {
		if one != source && one.arch == source.arch {
			targets = append(targets, one.deps)
			engines[one.deps.host] = one.engine
		}
	}
	var mu sync.Mutex
	return onEvery(targets, func(d deps) error {
		moved, err := engines[d.host].Move(ctx, source.engine, references, func(done, total int64) {
			live.Set(d.host, fmt.Sprintf("image from %s  %s of about %s", name, ui.Bytes(done), ui.Bytes(max(done, total))))
		})
		switch {
		case err != nil:
			live.Fail(d.host, "image from "+name+": "+hint.FirstLine(err))
			return err
		case moved:
			live.Done(d.host, "image from "+name)
		}
		mu.Lock()
		defer mu.Unlock()
		*fit = append(*fit, d)
		return nil
	})
}

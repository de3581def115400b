package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/hint"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// RunEverywhere runs up on every host that the session covers. The image is built on one host of
// each architecture and moved to the others.
func (o Up) RunEverywhere(ctx context.Context, s session.Session) error {
	all := s.Each()
	if len(all) == 1 {
		if o.Settings.Runners.Count == 0 {
			return noneWanted(s)
		}
		return o.Run(ctx, s)
	}
	if o.CountGiven {
		return &CountError{}
	}
	var wanted []session.Session
	for _, one := range all {
		if o.Settings.CountOn(one.Host) == 0 {
			fmt.Fprintln(one.Streams.Err, "count: 0, so nothing is started there")
			continue
		}
		wanted = append(wanted, one)
	}
	d := &distribution{Up: o, session: s}
	fit, failed := d.run(ctx, wanted)
	if len(fit) == 0 || ctx.Err() != nil {
		return failed
	}
	return errors.Join(failed, session.OnEvery(fit, func(s session.Session) error {
		own := o
		own.Settings.Runners.Count = o.Settings.CountOn(s.Host)
		return own.Run(ctx, s)
	}))
}

// CountError reports a single count for several hosts.
type CountError struct{}

func (*CountError) Error() string { return "--count: of which host?" }

// noTwins rejects engines with the same id. A fleet's registrations carry that id, so each
// engine would take the registrations of the other for leftovers, and remove them.
func noTwins(all []*hostEngine) error {
	names := map[string]string{}
	for _, one := range all {
		if twin, known := names[one.own]; known {
			return hint.Add(fmt.Errorf("hosts %s and %s: both engines have the id %s, so their runners at GitHub can't be distinguished", twin, one.session.Host, one.own),
				"one machine twice? name it once; a copy of a machine? there: rm /etc/docker/key.json, rm engine-id in the engine's data-root, and restart the engine")
		}
		names[one.own] = one.session.Host
	}
	return nil
}

func noneWanted(s session.Session) error {
	return &config.Error{Field: "hosts", Problem: "count: 0 for this host", Err: &NoneWantedError{s.Host}}
}

// NoneWantedError reports a host that the settings want no runners on.
type NoneWantedError struct{ Host string }

func (e *NoneWantedError) Error() string { return "no runners wanted on host " + e.Host }

// distribution brings the fleet's image to several hosts.
type distribution struct {
	Up
	session session.Session
	fit     []session.Session // hosts that have the image
}

// hostEngine is the engine of a host that answered.
type hostEngine struct {
	session session.Session
	engine  *dockerx.Engine
	arch    string
	own     string // the engine's id
	id      string // id of the image; "" if the engine does not have it
}

// run makes the fleet's image on one host of each architecture, unless a host has it
// already, and moves it to the others. fit are the hosts that have it afterwards. In a dry run
// nothing is made or moved.
func (d *distribution) run(ctx context.Context, all []session.Session) (fit []session.Session, err error) {
	answered, err := d.reachAll(ctx, all)
	defer func() {
		for _, one := range answered {
			one.engine.Close()
		}
	}()
	if d.Settings.Target != "" {
		if err := noTwins(answered); err != nil {
			return nil, err
		}
	}
	if d.DryRun || ctx.Err() != nil {
		for _, one := range answered {
			fit = append(fit, one.session)
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
		if err := d.moveFrom(ctx, source, answered); err != nil {
			failures = append(failures, err)
		}
	}
	return d.fit, errors.Join(failures...)
}

// reachAll asks all hosts in parallel about their engine and image.
func (d *distribution) reachAll(ctx context.Context, all []session.Session) (answered []*hostEngine, err error) {
	found := make([]*hostEngine, len(all))
	byName := map[string]int{}
	for i, one := range all {
		byName[one.Host] = i
	}
	err = session.OnEvery(all, func(s session.Session) error {
		one, err := d.lookForImage(ctx, s)
		if err != nil && ctx.Err() == nil { // now, not after the others are done
			fmt.Fprintf(s.Streams.Err, "left out: %s\n", hint.FirstLine(err))
		}
		found[byName[s.Host]] = one
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
func (d *distribution) lookForImage(ctx context.Context, s session.Session) (*hostEngine, error) {
	engine, _, err := s.Connect()
	if err != nil {
		return nil, err
	}
	one := &hostEngine{session: s, engine: engine}
	facts, err := engine.Facts(ctx)
	if err == nil {
		one.arch, one.own = facts.Arch, facts.ID
		var found Image
		found, err = d.FindImage(ctx, s, engine)
		one.id = found.ID
	}
	if err != nil {
		engine.Close()
		return nil, err
	}
	return one, nil
}

// moveFrom makes sure that the source has the image, and moves it with its bases to the hosts
// of the same architecture. There up finds it as if it had been built there.
func (d *distribution) moveFrom(ctx context.Context, source *hostEngine, all []*hostEngine) error {
	name := source.session.Host
	builder := d.session
	builder.Host = name
	made, err := d.EnsureImage(ctx, builder, source.engine)
	if err != nil {
		return session.OfHost(name, err)
	}
	if made.Built {
		fmt.Fprintf(d.session.Streams.Err, "image  %s %s (built on %s)\n", d.Theme.Check(), made.Tag, name)
	}
	references := append([]string{made.Tag}, d.Settings.Image.Bases()...)
	d.fit = append(d.fit, source.session)
	live := ui.NewLive(d.session.Streams.Err, d.session.Redraws(), d.Theme)
	defer live.Close()
	var targets []session.Session
	engines := map[string]*dockerx.Engine{}
	for _, one := range all {
		if one != source && one.arch == source.arch {
			targets = append(targets, one.session)
			engines[one.session.Host] = one.engine
		}
	}
	var mu sync.Mutex
	return session.OnEvery(targets, func(s session.Session) error {
		moved, err := engines[s.Host].Move(ctx, source.engine, references, func(done, total int64) {
			live.Set(s.Host, fmt.Sprintf("image from %s  %s of about %s", name, ui.Bytes(done), ui.Bytes(max(done, total))))
		})
		switch {
		case err != nil:
			live.Fail(s.Host, "image from "+name+": "+hint.FirstLine(err))
			return err
		case moved:
			live.Done(s.Host, "image from "+name)
		}
		mu.Lock()
		defer mu.Unlock()
		d.fit = append(d.fit, s)
		return nil
	})
}

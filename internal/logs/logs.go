// Package logs reads and follows the logs of runners on every host, of removed ones from their
// records, and the events of a supervisor. It imports dockerx and internal/{fleet,session}.
package logs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/session"
)

// Runners are the logs of some runners, or some lines of them.
type Runners struct {
	Fleet   string
	Names   []string // without repetitions; none for all of the fleet
	Follow  bool     // also the lines to come, until ctx or every runner ends
	Tail    int      // last lines of each runner; all if negative
	Since   time.Time
	Sources []string // none for all
}

// NoRunnersError reports a fleet that has no runners.
type NoRunnersError struct{ fleet string }

func (e *NoRunnersError) Error() string { return fmt.Sprintf("fleet %s has no runners", e.fleet) }

// Read reads the logs. printer gets the runners' names, in the order in which they were asked
// for, and returns a function that prints lines and that several goroutines may call. Runners
// of other hosts are shown even if one host fails.
func (r Runners) Read(ctx context.Context, s session.Session, printer func(names []string) func(fleet.LogLine)) error {
	readers, failed := r.find(ctx, s)
	defer func() {
		for _, one := range readers {
			one.engine.Close()
		}
	}()
	if failed == nil {
		if err := r.check(readers); err != nil {
			return err
		}
	} else if len(readers) == 0 {
		return failed
	}
	var names []string
	for _, one := range readers {
		names = append(names, one.runner.Name)
	}
	return errors.Join(failed, session.Interrupted(ctx, r.show(ctx, readers, printer(names))))
}

// show shows the existing lines of all runners in the order of time, then new ones as they come.
func (r Runners) show(ctx context.Context, readers []*reader, show func(fleet.LogLine)) error {
	var group errgroup.Group
	histories := make([]<-chan fleet.LogLine, len(readers))
	for i, one := range readers {
		history := make(chan fleet.LogLine, 64)
		histories[i] = history
		group.Go(func() error {
			defer close(history)
			return one.history(ctx, func(line fleet.LogLine) { history <- line })
		})
	}
	fleet.Merge(histories, show)
	if err := group.Wait(); err != nil || ctx.Err() != nil || !r.Follow {
		return err
	}
	for _, one := range readers {
		group.Go(func() error { return one.follow(ctx, show) })
	}
	return group.Wait()
}

// find finds the runners on every host. If one host fails, the runners of the others are still
// returned.
func (r Runners) find(ctx context.Context, s session.Session) ([]*reader, error) {
	var mu sync.Mutex
	var readers []*reader
	err := session.OnEach(s.Each(), func(s session.Session) error {
		engine, _, err := s.Connect()
		if err != nil {
			return err
		}
		found, err := r.findOn(ctx, engine)
		if len(found) == 0 {
			engine.Close()
		}
		mu.Lock()
		defer mu.Unlock()
		readers = append(readers, found...)
		return err
	})
	slices.SortStableFunc(readers, func(a, b *reader) int {
		if len(r.Names) > 0 {
			return cmp.Compare(slices.Index(r.Names, a.runner.Name), slices.Index(r.Names, b.runner.Name))
		}
		return strings.Compare(a.runner.Name, b.runner.Name)
	})
	return readers, err
}

// findOn finds the runners of one host, and the records of those that are gone.
func (r Runners) findOn(ctx context.Context, engine *dockerx.Engine) (readers []*reader, err error) {
	if len(r.Names) == 0 {
		runners, err := engine.Known(ctx, r.Fleet)
		for _, runner := range runners {
			readers = append(readers, &reader{options: r, engine: engine, runner: runner})
		}
		return readers, err
	}
	for _, name := range r.Names {
		runner, record, err := session.RunnerOrRecord(ctx, engine, name)
		if err != nil {
			return nil, err
		}
		if runner.ContainerID != "" || record != nil {
			readers = append(readers, &reader{options: r, engine: engine, runner: runner, record: record})
		}
	}
	return readers, nil
}

// check reports each name that no host has, or a fleet without runners.
func (r Runners) check(readers []*reader) error {
	if len(r.Names) == 0 && len(readers) == 0 {
		return &NoRunnersError{r.Fleet}
	}
	var unknown []error
	for _, name := range r.Names {
		if !slices.ContainsFunc(readers, func(one *reader) bool { return one.runner.Name == name }) {
			unknown = append(unknown, session.NoRunner(name))
		}
	}
	return errors.Join(unknown...)
}

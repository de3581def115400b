package controller

import (
	"context"
	"errors"
	"time"

	"github.com/runnerctl/runnerctl/internal/fleet"
	"golang.org/x/sync/errgroup"
)

// settlePause is the time between two looks at a runner that does not answer.
const settlePause = 500 * time.Millisecond

// lookInside checks in the background whether jobs can use the daemons of runners that wait
// for a job. It checks each runner once a minute, and sooner if the last check failed.
func (l *loop) lookInside(ctx context.Context) {
	if l.looking {
		return
	}
	now := time.Now()
	var due []fleet.Runner
	for _, s := range l.observed {
		if s.MayBeSilent() && !l.nextInside(s).After(now) {
			due = append(due, s.Runner)
		}
	}
	if len(due) == 0 {
		return
	}
	l.looking = true
	go func() {
		bounded, cancel := context.WithTimeout(ctx, engineLimit)
		defer cancel()
		for i := range due {
			due[i] = l.Engine.Look(bounded, due[i])
		}
		l.looks <- due
	}()
}

// nextInside returns when a runner should be checked next.
func (l *loop) nextInside(s *fleet.Observed) time.Time {
	last := s.Inside
	if last.IsZero() {
		last = s.Online
	}
	if !s.Silent.IsZero() {
		if l.desired.Policy.Once { // somebody waits
			return last.Add(settlePause)
		}
		return last.Add(fleet.SettleLimit)
	}
	return last.Add(slowTick)
}

// handleLooks processes the results of lookInside.
func (l *loop) handleLooks(seen []fleet.Runner) {
	l.looking = false
	now := time.Now()
	for _, runner := range seen {
		s := l.observed[runner.Name]
		if s == nil || s.ContainerID != runner.ContainerID {
			continue
		}
		s.Inside, s.Problem = now, runner.Problem
		switch {
		case s.Problem == "" && l.desired.Policy.Once && !s.Silent.IsZero():
			s.Silent, s.Online = time.Time{}, time.Time{} // its agent is still to be judged
		case s.Problem == "":
			s.Silent = time.Time{}
		case s.Silent.IsZero():
			s.Silent = now
			l.emit(fleet.Event{Kind: fleet.FailedEvent, Runner: s.Name, Text: fleet.NotAnswering + s.Problem})
		}
	}
}

// observe asks GitHub for its lists and looks into every runner, so that the first plan rests on
// fresh facts: those of a single run are not corrected later.
func (l *loop) observe(ctx context.Context) error {
	for _, one := range l.witnesses {
		one.asking = true
		go func() { _, _ = one.next(ctx) }() // handleList receives it
	}
	failed := &ListError{}
	for range l.witnesses {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case seen := <-l.lists:
			if seen.err != nil {
				failed.URLs, failed.Err = append(failed.URLs, seen.url), errors.Join(failed.Err, seen.err)
				continue
			}
			l.handleList(seen)
		}
	}
	if failed.Err != nil {
		return failed
	}
	return l.lookAtFirst(ctx, func(fleet.Runner) bool { return true })
}

// settle looks again at runners that do not answer, until all answer or SettleLimit has passed.
func (l *loop) settle(ctx context.Context) error {
	for started := time.Now(); l.settling() && time.Since(started) < fleet.SettleLimit+settlePause; {
		sleep(ctx, settlePause)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		l.lookInside(ctx)
		if l.looking {
			l.handleLooks(<-l.looks)
		}
	}
	return nil
}

// lookAtFirst looks into the selected runners before the first plan.
func (l *loop) lookAtFirst(ctx context.Context, selected func(fleet.Runner) bool) error {
	runners, err := l.Engine.Known(ctx, l.Fleet)
	if err != nil {
		return err
	}
	var group errgroup.Group
	group.SetLimit(looksAtATime)
	inside := make([]fleet.Runner, len(runners))
	for i, runner := range runners {
		if selected(runner) {
			group.Go(func() error {
				inside[i] = l.Engine.Look(ctx, runner)
				return nil
			})
		}
	}
	_ = group.Wait() // looks don't fail
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	l.merge(runners)
	l.findProof(ctx)
	for _, runner := range inside {
		if runner.Name != "" {
			seenInside(l.observed[runner.Name], runner)
		}
	}
	return nil
}

// seenInside notes the facts of a look into a runner that no loop knew before.
func seenInside(s *fleet.Observed, looked fleet.Runner) {
	now := time.Now()
	listed := s.Connected()
	s.Ready, s.DockerVersion, s.Waiting, s.Problem = looked.Ready, looked.DockerVersion, looked.Waiting, looked.Problem
	if s.Agent.Mode == fleet.NoAgent {
		s.Busy, listed = looked.Busy, true
	}
	s.Online, s.Missed = time.Time{}, time.Time{} // unless it is ready, it is adopted
	switch {
	case looked.State != fleet.Running || looked.Start == fleet.Spare && looked.Waiting:
	case looked.Problem != "":
		s.Online, s.Silent, s.Inside = now, now, now
	case looked.Ready && listed:
		s.Online = now
	case s.HasJob():
		s.Online = now
	}
}

// looksAtATime limits how many runners are looked into in parallel.
const looksAtATime = 8

package fleet

import (
	"context"
	"time"
)

// lookInside asks the runners that wait for a job, once a minute each and sooner where
// one did not answer, whether jobs can use their daemons. It goes on in the background.
func (l *loop) lookInside(ctx context.Context) {
	if l.looking {
		return
	}
	now := time.Now()
	var due []Runner
	for _, s := range l.sights {
		if s.mayBeSilent() && !s.nextInside().After(now) {
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
		l.insides <- due
	}()
}

// mayBeSilent tells whether a runner is looked at: one that is known to take jobs and
// has none.
func (s Sight) mayBeSilent() bool {
	return s.State == Running && s.Doing == "" && (s.Waiting || !s.Online.IsZero()) && !s.hasListedJob()
}

// nextInside is when a runner is to be looked at next.
func (s Sight) nextInside() time.Time {
	last := s.Inside
	if last.IsZero() {
		last = s.Online
	}
	if !s.Silent.IsZero() {
		return last.Add(settleLimit)
	}
	return last.Add(slowTick)
}

// sawInside takes in what was seen.
func (l *loop) sawInside(seen []Runner) {
	l.looking = false
	now := time.Now()
	for _, runner := range seen {
		s := l.sights[runner.Name]
		if s == nil || s.ContainerID != runner.ContainerID {
			continue
		}
		s.Inside, s.Problem = now, runner.Problem
		switch {
		case s.Problem == "":
			s.Silent = time.Time{}
		case s.Silent.IsZero():
			s.Silent = now
			l.tell(Event{Kind: FailedEvent, Runner: s.Name, Text: notAnswering + s.Problem})
		}
	}
}

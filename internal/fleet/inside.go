package fleet

import (
	"context"
	"time"
)

// lookInside checks in the background whether jobs can use the daemons of runners that wait
// for a job. It checks each runner once a minute, and sooner if the last check failed.
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

// mayBeSilent reports whether a runner should be checked: it is known to take jobs and has
// none.
func (s Sight) mayBeSilent() bool {
	return s.State == Running && s.Doing == "" && (s.Waiting || !s.Online.IsZero()) && !s.hasListedJob()
}

// nextInside returns when a runner should be checked next.
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

// sawInside processes the results of lookInside.
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

package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/runnerctl/runnerctl/internal/fleet"
)

const (
	// ahead is how long before its agent is refused an image is rebuilt.
	ahead = 7 * 24 * time.Hour
	// renewEvery is how often GitHub is asked for that day.
	renewEvery = 12 * time.Hour
	// demandEvery is how often refused agents may cause a rebuild.
	demandEvery = time.Hour
)

// renewal schedules checks of the age of the image's agent.
type renewal struct {
	next      time.Time
	demanded  time.Time // when an agent was last refused; zero: not since the last renewal
	last      time.Time // last rebuild or attempt
	suspected time.Time // when an agent last failed to register, possibly because of its age
	underWay  bool
}

func (r *renewal) demand(now time.Time) { r.demanded = now }

// suspect schedules an early check of the agent's age, but not too often.
func (r *renewal) suspect(now time.Time) {
	if r.suspected.IsZero() || now.Sub(r.suspected) >= demandEvery {
		r.next, r.suspected = now, now
	}
}

func (r *renewal) due(now time.Time) bool {
	refused := !r.demanded.IsZero() && (r.last.IsZero() || now.Sub(r.last) >= demandEvery)
	return !r.underWay && (refused || !now.Before(r.next))
}

// renew checks the age of the agent in the image, and rebuilds the image when the agent's last
// day is near. The new Desired then rolls the fleet.
func (l *loop) renew(ctx context.Context) {
	now := time.Now()
	ages, can := l.Targets[l.desired.Spec.Agent.URL].(fleet.Ages)
	refused := !l.renewal.demanded.IsZero()
	if l.Rebuild == nil || !l.renewal.due(now) || !refused && (!can || l.desired.Agent == "") {
		return
	}
	l.renewal.underWay, l.renewal.demanded = true, time.Time{}
	l.start(ctx, renew{begun: now, basis: l.desired, refused: refused, ages: ages, rebuild: l.Rebuild})
}

// renew checks the age of the agent in the image, and rebuilds the image when the agent's last
// day is near.
type renew struct {
	begun   time.Time
	basis   fleet.Desired
	refused bool       // an agent was refused
	ages    fleet.Ages // nil if the target reports none
	rebuild func(context.Context, fleet.Desired) (fleet.Desired, error)
}

func (a renew) run(ctx context.Context, _ *executor) outcome {
	r := renewed{begun: a.begun, basis: a.basis}
	if a.ages != nil && a.basis.Agent != "" {
		r.day, r.err = a.ages.Deprecated(ctx, a.basis.Agent)
	}
	near := !r.day.IsZero() && time.Until(r.day) < ahead
	if r.rebuilt = a.refused || near; r.rebuilt {
		r.desired, r.err = a.rebuild(ctx, a.basis)
	}
	return r
}

// renewed reports the age of the agent, and the Desired with a new image.
type renewed struct {
	begun   time.Time
	day     time.Time // first day on which the agent is refused
	rebuilt bool      // the image needed a rebuild
	basis   fleet.Desired
	desired fleet.Desired // only if rebuilt
	err     error
}

// apply adopts the new image, unless the desired state was changed meanwhile.
func (r renewed) apply(l *loop) {
	now := time.Now()
	event := fleet.Event{Kind: fleet.ImageEvent, Took: now.Sub(r.begun).Seconds()}
	bounded, cancel := context.WithTimeout(context.Background(), writeLimit)
	defer cancel()
	l.reload(bounded)
	l.renewal.underWay, l.renewal.next = false, now.Add(renewEvery)
	var notHere *fleet.NotHereError
	elsewhere := errors.As(r.err, &notHere)
	if r.err != nil && !elsewhere {
		l.renewal.next = now.Add(demandEvery)
	}
	if !r.rebuilt && r.err == nil {
		return
	}
	l.renewal.last = now
	why := "GitHub no longer accepts its agent " + l.desired.Agent
	if !r.day.IsZero() {
		why += " from " + r.day.Format(time.DateOnly)
	}
	switch {
	case r.err != nil && !r.rebuilt:
		event.Kind, event.Text = fleet.FailedEvent, "the age of agent "+l.desired.Agent+" is not known: "+firstLine(r.err)
	case elsewhere:
		event.Text = why + ", and " + notHere.Error() + "; runnerctl up does it"
	case r.err != nil:
		event.Kind, event.Text = fleet.FailedEvent, "the image could not be rebuilt ("+why+"): "+firstLine(r.err)
	case !l.desired.Equal(r.basis):
		event.Text = "a new image is not used, because the desired state changed meanwhile"
	case r.desired.Spec.ImageID == l.desired.Spec.ImageID:
		event.Text = why + ", and there is no newer one"
	default:
		if err := l.Store.SaveDesired(bounded, r.desired); err != nil {
			event.Kind, event.Text = fleet.FailedEvent, fmt.Sprintf("a new image is not used, because the desired state can't be saved: %v", err)
			break
		}
		l.desired = r.desired
		event.Text = "rebuilt as " + l.desired.Spec.Image + ", runners follow one by one: " + why
	}
	l.emit(event)
}

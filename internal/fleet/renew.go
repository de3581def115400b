package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"
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
// day is near. The new Wish then rolls the fleet.
func (l *loop) renew(ctx context.Context) {
	now := time.Now()
	ages, tells := l.Forges[l.wish.Spec.Agent.URL].(Ages)
	refused := !l.renewal.demanded.IsZero()
	if !l.renewal.due(now) || !refused && (!tells || l.wish.Agent == "") {
		return
	}
	l.renewal.underWay, l.renewal.demanded = true, time.Time{}
	wish := l.wish
	l.steps.Go(func() {
		r := result{Operation: Operation{Action: Renew}, begun: now}
		if tells && wish.Agent != "" {
			r.day, r.err = ages.Deprecated(ctx, wish.Agent)
		}
		near := !r.day.IsZero() && time.Until(r.day) < ahead
		if r.rebuild = refused || near; r.rebuild {
			var made Wish
			if made, r.err = l.Rebuild(ctx, wish); r.err == nil {
				r.basis, r.wish = wish, &made
			}
		}
		l.results <- r
	})
}

// renewed adopts the new image, unless the desired state was changed meanwhile.
func (l *loop) renewed(r result, event Event) {
	now := time.Now()
	bounded, cancel := context.WithTimeout(context.Background(), writeLimit)
	defer cancel()
	l.reload(bounded)
	l.renewal.underWay, l.renewal.next = false, now.Add(renewEvery)
	var notHere *NotHereError
	elsewhere := errors.As(r.err, &notHere)
	if r.err != nil && !elsewhere {
		l.renewal.next = now.Add(demandEvery)
	}
	if !r.rebuild && r.err == nil {
		return
	}
	l.renewal.last = now
	why := "GitHub takes its agent " + l.wish.Agent + " no more"
	if !r.day.IsZero() {
		why += " from " + r.day.Format(time.DateOnly)
	}
	event.Kind = ImageEvent
	switch {
	case r.err != nil && !r.rebuild:
		event.Kind, event.Text = FailedEvent, "the age of agent "+l.wish.Agent+" is not known: "+firstLine(r.err)
	case elsewhere:
		event.Text = why + ", and " + notHere.Error() + "; runnerctl up does it"
	case r.err != nil:
		event.Kind, event.Text = FailedEvent, "the image could not be made anew ("+why+"): "+firstLine(r.err)
	case !l.wish.equal(r.basis):
		event.Text = "a new image is not used, as another wish came meanwhile"
	case r.wish.Spec.ImageID == l.wish.Spec.ImageID:
		event.Text = why + ", and there is no newer one"
	default:
		if err := l.Store.SaveWish(bounded, *r.wish); err != nil {
			event.Kind, event.Text = FailedEvent, fmt.Sprintf("a new image is not used, as the wish can't be kept: %v", err)
			break
		}
		l.wish = *r.wish
		event.Text = "made anew as " + l.wish.Spec.Image + ", runners follow one by one: " + why
	}
	l.tell(event)
}

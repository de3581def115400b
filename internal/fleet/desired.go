package fleet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

func (w Desired) String() string {
	text := fmt.Sprintf("%d wanted", w.Count)
	if w.Spares > 0 {
		text += fmt.Sprintf(" and %d spare", w.Spares)
	}
	return text + ", of " + w.Spec.Image
}

// Equal reports whether two desired states are stored alike.
func (w Desired) Equal(other Desired) bool {
	one, err := json.Marshal(w)
	two, otherErr := json.Marshal(other)
	return errors.Join(err, otherErr) == nil && bytes.Equal(one, two)
}

// Short describes how a fleet differs from the desired state; "" if nothing. Spares don't
// count, and a runner that has a job counts as good independently of its spec, so that nobody has to
// wait for jobs to end.
func (w Desired) Short(runners []Runner) string {
	hash := w.Spec.Hash()
	var good, idle, old int
	for _, runner := range runners {
		switch {
		case runner.HasJob():
			good++
		case !runner.Serving() || !runner.Ready:
		case runner.ImageID != w.Spec.ImageID || runner.SpecHash != hash:
			old++
		default:
			good++
			idle++
		}
	}
	switch {
	case good < w.Count:
		return fmt.Sprintf("%d of %d are ready", good, w.Count)
	case old > 0:
		return fmt.Sprintf("%d of another spec still exist", old)
	case good > w.Count && idle > 0:
		return fmt.Sprintf("%d too many still exist", min(idle, good-w.Count))
	}
	return ""
}

// Serving reports whether a runner is running and connected, as far as GitHub has reported.
func (r Runner) Serving() bool {
	return r.State == Running && (r.Agent.Mode == NoAgent || r.Listing != nil && r.Listing.State == Online)
}

// Change words how the desired state differs from the stored one, which is nil if there is none.
func (w Desired) Change(stored *Desired) string {
	switch {
	case stored == nil:
		return w.String()
	case stored.Spec.Hash() != w.Spec.Hash():
		return w.String() + "; its runners are replaced one by one, each after its job"
	case stored.Count == w.Count && stored.Spares == w.Spares:
		return "nothing new: " + w.String()
	}
	return w.String() + "; so far " + stored.String()
}

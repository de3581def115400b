package fleet

import "fmt"

// Short tells what a fleet lacks to be as wished; "" where nothing. Spares are not
// counted, and nobody waits for a job to end: a runner that has one is as good as
// wished.
func (w Wish) Short(runners []Runner) string {
	hash := w.Spec.Hash()
	var good, idle, old int
	for _, runner := range runners {
		switch {
		case runner.hasJob():
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
		return fmt.Sprintf("%d of another spec are there still", old)
	case good > w.Count && idle > 0:
		return fmt.Sprintf("%d too many are there still", min(idle, good-w.Count))
	}
	return ""
}

// Serving tells whether a runner runs and is connected, as far as its forge said.
func (r Runner) Serving() bool {
	return r.State == Running && (r.Agent.Mode == NoAgent || r.Listing != nil && r.Listing.State == Online)
}

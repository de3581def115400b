package fleet

import (
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"
	"time"
)

// Inventory is what an engine holds of ours, and who uses it.
type Inventory struct {
	Now        time.Time
	Containers []Container
	Volumes    []Volume
	Images     []Image
	Probes     []Image // made for a moment, to look at the engine's machine

	Supervisors []Image             // of the container that a supervisor runs in
	InUse       map[string][]string // image id → names of its containers, foreign ones too
}

// Container of ours.
type Container struct {
	Name    string
	ID      string
	Fleet   string
	Role    Role
	Runner  string // of holds: whose
	State   State
	Created time.Time
	Size    int64 // bytes of its own
}

// Volume of ours.
type Volume struct {
	Name   string
	Fleet  string
	Role   Role
	Runner string // whose
	Size   int64  // bytes
}

// Image that has our label.
type Image struct {
	ID      string
	Tags    []string
	Created time.Time
	Size    int64 // bytes that no other image has
}

// PruneOptions say what may go.
type PruneOptions struct {
	ImagesOnly bool
	Kept       bool   // also what run --keep left
	Current    string // id of the image that up would use; "" where it is not built
	Repository string // of runner images
}

// Kind of what prune removes.
type Kind string

// The kinds.
const (
	KindContainer Kind = "container"
	KindVolume    Kind = "volume"
	KindImage     Kind = "image"
)

// Removal is one step of a prune and its cause.
type Removal struct {
	Kind  Kind
	Name  string
	ID    string
	Tags  []string // of images; all of them go
	Role  Role     // of containers and volumes, and of a probe's image
	Fleet string   // whose lock is to be held; "" for none
	Force bool     // though it runs
	Size  int64    // bytes
	Cause string
}

// PrunePlan is what a prune removes.
type PrunePlan struct {
	Removals []Removal
	Skipped  []string // fleets that another runnerctl is changing
}

// Size of all, in bytes.
func (p PrunePlan) Size() (sum int64) {
	for _, one := range p.Removals {
		sum += one.Size
	}
	return sum
}

// Write prints the plan, one line a removal.
func (p PrunePlan) Write(w io.Writer, size func(int64) string) {
	for _, one := range p.Removals {
		fmt.Fprintf(w, "remove  %-9s  %s  %s  (%s)\n", one.Kind, one.Name, size(one.Size), one.Cause)
	}
	for _, name := range p.Skipped {
		fmt.Fprintf(w, "leave   fleet %s  (another runnerctl is changing it)\n", name)
	}
}

// lockGrace is how long a lock may take from being made to running.
const lockGrace = 20 * time.Second

// ProbeGrace is how old what a probe needs must be for its maker to be gone.
const ProbeGrace = 2 * time.Minute

// MakePrune decides what nobody needs any more. It never names what the
// inventory does not hold: what has no label of ours is not even looked at.
func MakePrune(all Inventory, options PruneOptions) PrunePlan {
	var plan PrunePlan
	gone := map[string]bool{} // containers by id
	if !options.ImagesOnly {
		plan = pruneRunners(all, options.Kept)
		for _, one := range plan.Removals {
			gone[one.Name] = one.Kind == KindContainer
		}
	}
	plan.Removals = append(plan.Removals, pruneImages(all, gone, options)...)
	for _, one := range all.Supervisors {
		if all.Now.Sub(one.Created) >= ProbeGrace && !all.used(one, gone) {
			plan.Removals = append(plan.Removals, Removal{Kind: KindImage, Name: strings.Join(one.Tags, " "), ID: one.ID, Tags: one.Tags, Role: Supervisor, Size: one.Size, Cause: "no supervisor uses it"})
		}
	}
	return plan
}

// Leftovers are throw-away runners, and what is left of some, that no process
// holds any more: those of a run that was killed, and those of run --keep. Probes
// of a doctor that was killed too.
func Leftovers(all Inventory) []Removal {
	var left []Removal
	for _, one := range pruneRunners(all, true).Removals {
		if one.Role == ThrowAway || one.Role == Kept || one.Role == Probe {
			left = append(left, one)
		}
	}
	return left
}

func pruneRunners(all Inventory, kept bool) PrunePlan {
	var plan PrunePlan
	alive := map[string]bool{}  // fleets of which a runner runs, or the supervisor, which makes some
	held := map[string]bool{}   // throw-away runners whose runnerctl lives
	locked := map[string]bool{} // fleets
	exists := map[string]bool{} // containers
	for _, one := range all.Containers {
		exists[one.Name] = true
		fresh := one.State == Running || all.Now.Sub(one.Created) < lockGrace
		switch {
		case one.Role == Lock && fresh:
			locked[one.Fleet] = true
		case one.Role == Hold && fresh:
			held[one.Runner] = true
		case one.Role == Member && !ended[one.State], one.Role == Supervisor && (fresh || !ended[one.State]):
			alive[one.Fleet] = true
		}
	}
	skipped := map[string]bool{}
	add := func(removal Removal) {
		if removal.Fleet != "" && locked[removal.Fleet] {
			skipped[removal.Fleet] = true
			return
		}
		plan.Removals = append(plan.Removals, removal)
	}
	data := map[string]int64{} // bytes of runners' volumes, which go with them
	for _, one := range all.Volumes {
		data[one.Runner] += one.Size
	}
	for _, one := range all.Containers {
		removal := Removal{Kind: KindContainer, Name: one.Name, ID: one.ID, Role: one.Role, Size: one.Size + data[one.Name]}
		switch one.Role {
		case Lock, Hold, Probe:
			if one.State != Running && all.Now.Sub(one.Created) >= lockGrace {
				removal.Cause = "stale " + string(one.Role)
				add(removal)
			}
		case ThrowAway:
			if !held[one.Name] {
				removal.Force, removal.Cause = true, "its runnerctl run is gone"
				add(removal)
			}
		case Kept:
			if kept && !held[one.Name] {
				removal.Force, removal.Cause = true, "left by run --keep"
				add(removal)
			}
		case Member, Supervisor:
			if ended[one.State] && !alive[one.Fleet] {
				removal.Fleet, removal.Cause = one.Fleet, fmt.Sprintf("it is %s, and so is all of fleet %s", one.State, one.Fleet)
				add(removal)
			}
		}
	}
	for _, one := range all.Volumes {
		if (one.Role == StateRole || one.Role == Credential) && !alive[one.Fleet] {
			add(Removal{Kind: KindVolume, Name: one.Name, Role: one.Role, Fleet: one.Fleet, Size: one.Size, Cause: fmt.Sprintf("nothing of fleet %s runs", one.Fleet)})
		}
		// The volume of a runner that is removed goes with it.
		if one.Runner == "" || exists[one.Runner] || held[one.Runner] {
			continue
		}
		removal := Removal{Kind: KindVolume, Name: one.Name, Role: one.Role, Size: one.Size, Cause: fmt.Sprintf("runner %s is gone", one.Runner)}
		if one.Role == Member {
			removal.Fleet = one.Fleet
		}
		add(removal)
	}
	for _, one := range all.Probes {
		if all.Now.Sub(one.Created) >= ProbeGrace {
			plan.Removals = append(plan.Removals, Removal{Kind: KindImage, Name: strings.Join(one.Tags, " "), ID: one.ID, Tags: one.Tags, Role: Probe, Size: one.Size, Cause: "its runnerctl doctor is gone"})
		}
	}
	// One fleet after the other: each has a lock.
	sort.SliceStable(plan.Removals, func(i, j int) bool { return plan.Removals[i].Fleet < plan.Removals[j].Fleet })
	for name := range skipped {
		plan.Skipped = append(plan.Skipped, name)
	}
	sort.Strings(plan.Skipped)
	return plan
}

// ended are the states of a container that nothing runs in.
var ended = map[State]bool{"exited": true, "dead": true, "created": true}

// pruneImages keeps the image that up would use (where that is not known, the
// newest), what a container needs, and what somebody gave a name of his own: an
// image built on ours inherits the label.
func pruneImages(all Inventory, gone map[string]bool, options PruneOptions) []Removal {
	keep := options.Current
	if keep == "" {
		var newest time.Time
		for _, one := range all.Images {
			if one.Created.After(newest) {
				newest, keep = one.Created, one.ID
			}
		}
	}
	var removals []Removal
	for _, one := range all.Images {
		own := true
		for _, tag := range one.Tags {
			own = own && strings.HasPrefix(tag, options.Repository+":")
		}
		if all.used(one, gone) || !own || one.ID == keep {
			continue
		}
		name := strings.Join(one.Tags, " ")
		if name == "" {
			name = shortID(one.ID)
		}
		removals = append(removals, Removal{Kind: KindImage, Name: name, ID: one.ID, Tags: one.Tags, Size: one.Size, Cause: "no container uses it, and up would not"})
	}
	return removals
}

// used tells whether a container needs an image that stays.
func (all Inventory) used(one Image, gone map[string]bool) bool {
	return slices.ContainsFunc(all.InUse[one.ID], func(container string) bool { return !gone[container] })
}

func shortID(id string) string {
	_, hex, _ := strings.Cut(id, ":")
	return hex[:min(12, len(hex))]
}

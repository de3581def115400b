// Package prune decides which of runnerctl's objects on an engine nobody needs any more. It
// imports fleet only.
package prune

import (
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/runnerctl/runnerctl/internal/fleet"
)

// Inventory lists our objects on an engine, and which containers use them.
type Inventory struct {
	Now        time.Time
	Containers []Container
	Volumes    []Volume
	Images     []Image
	Probes     []Image // temporary images that inspect the engine's machine

	Supervisors []Image             // images of supervisor containers
	InUse       map[string][]string // image id → names of its containers, including foreign ones
}

// Container is a container that runnerctl made.
type Container struct {
	Name    string
	ID      string
	Fleet   string
	Role    fleet.Role
	Runner  string // for holds: the runner held
	State   fleet.State
	Created time.Time
	Size    int64 // bytes of its writable layer
}

// Volume is a volume that runnerctl made.
type Volume struct {
	Name   string
	Fleet  string
	Role   fleet.Role
	Runner string // the runner that it belongs to
	Image  string // id of the image that it is the proof of
	Size   int64  // bytes
}

// Image is an image with our label.
type Image struct {
	ID      string
	Tags    []string
	Created time.Time
	Size    int64 // bytes not shared with other images
}

// Options select the objects that may be removed.
type Options struct {
	ImagesOnly bool
	Kept       bool   // also remove runners left by run --keep
	Current    string // id of the image that up would use; "" if it is not built
	Repository string // of runner images
}

// Kind is the kind of an object that prune removes.
type Kind string

// The kinds.
const (
	KindContainer Kind = "container"
	KindVolume    Kind = "volume"
	KindImage     Kind = "image"
)

// Removal is one step of a prune, with its cause.
type Removal struct {
	Kind  Kind
	Name  string
	ID    string
	Tags  []string   // of images; all are removed
	Role  fleet.Role // of containers and volumes, and of a probe's image
	Fleet string     // fleet whose lock must be held; "" for none
	Force bool       // remove it even if it is running
	Size  int64      // bytes
	Cause string
}

// Plan lists the removals of a prune.
type Plan struct {
	Removals []Removal
	Skipped  []string // fleets that another runnerctl is currently changing
}

// Size returns the total size in bytes.
func (p Plan) Size() (sum int64) {
	for _, one := range p.Removals {
		sum += one.Size
	}
	return sum
}

// Write prints the plan, one line per removal.
func (p Plan) Write(w io.Writer, size func(int64) string) {
	for _, one := range p.Removals {
		fmt.Fprintf(w, "remove  %-9s  %s  %s  (%s)\n", one.Kind, one.Name, size(one.Size), one.Cause)
	}
	for _, name := range p.Skipped {
		fmt.Fprintf(w, "skip    fleet %s  (another runnerctl is changing it)\n", name)
	}
}

// lockGrace is how long a lock may take from creation to running.
const lockGrace = 20 * time.Second

// ProbeGrace is the age at which the process that made a probe's image must be gone.
const ProbeGrace = 2 * time.Minute

// NewPlan selects the objects that are no longer needed. It removes only objects in the
// inventory: objects without our label are never considered.
func NewPlan(all Inventory, options Options) Plan {
	var plan Plan
	gone := map[string]bool{} // containers by id
	if !options.ImagesOnly {
		plan = pruneRunners(all, options.Kept)
		for _, one := range plan.Removals {
			gone[one.Name] = one.Kind == KindContainer
		}
	}
	plan.Removals = append(plan.Removals, pruneImages(all, gone, options)...)
	plan.Removals = append(plan.Removals, pruneProofs(all, plan.Removals)...)
	for _, one := range all.Supervisors {
		if all.Now.Sub(one.Created) >= ProbeGrace && !all.used(one, gone) {
			plan.Removals = append(plan.Removals, Removal{Kind: KindImage, Name: strings.Join(one.Tags, " "), ID: one.ID, Tags: one.Tags, Role: fleet.Supervisor, Size: one.Size, Cause: "no supervisor uses it"})
		}
	}
	return plan
}

// Leftovers returns throw-away runners, and remains of them, that no process holds any more:
// those of a killed run, and those of run --keep. It also returns probes of a killed doctor.
func Leftovers(all Inventory) []Removal {
	var left []Removal
	for _, one := range pruneRunners(all, true).Removals {
		if one.Role == fleet.ThrowAway || one.Role == fleet.Kept || one.Role == fleet.Probe {
			left = append(left, one)
		}
	}
	return left
}

func pruneRunners(all Inventory, kept bool) Plan {
	var plan Plan
	alive := map[string]bool{}  // fleets with a running runner, or with a supervisor, which makes runners
	held := map[string]bool{}   // throw-away runners whose runnerctl is alive
	locked := map[string]bool{} // fleets
	exists := map[string]bool{} // containers
	for _, one := range all.Containers {
		exists[one.Name] = true
		fresh := one.State == fleet.Running || all.Now.Sub(one.Created) < lockGrace
		switch {
		case one.Role == fleet.Lock && fresh:
			locked[one.Fleet] = true
		case one.Role == fleet.Hold && fresh:
			held[one.Runner] = true
		case one.Role == fleet.Member && !one.State.Ended(), one.Role == fleet.Supervisor && (fresh || !one.State.Ended()):
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
	complete := map[string]bool{} // runners that have pulled images for others
	for _, one := range all.Volumes {
		complete[one.Name] = one.Role == fleet.Preload && one.Runner == ""
	}
	data := map[string]int64{} // bytes of runners' volumes, which are removed with them
	for _, one := range all.Volumes {
		data[one.Runner] += one.Size
	}
	for _, one := range all.Containers {
		removal := Removal{Kind: KindContainer, Name: one.Name, ID: one.ID, Role: one.Role, Size: one.Size + data[one.Name]}
		switch one.Role {
		case fleet.Lock, fleet.Hold, fleet.Probe:
			if one.State != fleet.Running && all.Now.Sub(one.Created) >= lockGrace {
				removal.Cause = "stale " + string(one.Role)
				add(removal)
			}
		case fleet.ThrowAway:
			if !held[one.Name] {
				removal.Force, removal.Cause = true, "its runnerctl run is gone"
				add(removal)
			}
		case fleet.Preload:
			if !held[one.Name] {
				removal.Force, removal.Cause = true, "its runnerctl is gone"
				add(removal)
			}
		case fleet.Kept:
			if kept && !held[one.Name] {
				removal.Force, removal.Cause = true, "left by run --keep"
				add(removal)
			}
		case fleet.Member, fleet.Supervisor:
			if one.State.Ended() && !alive[one.Fleet] {
				removal.Fleet, removal.Cause = one.Fleet, fmt.Sprintf("it is %s, like all runners of fleet %s", one.State, one.Fleet)
				add(removal)
			}
		}
	}
	for _, one := range all.Volumes {
		if (one.Role == fleet.StateRole || one.Role == fleet.Credential) && !alive[one.Fleet] {
			add(Removal{Kind: KindVolume, Name: one.Name, Role: one.Role, Fleet: one.Fleet, Size: one.Size, Cause: fmt.Sprintf("fleet %s has no running runner", one.Fleet)})
		}
		// The volume of a removed runner is removed with it, unless it holds images for others.
		if one.Runner == "" || exists[one.Runner] || held[one.Runner] || complete[one.Runner] {
			continue
		}
		removal := Removal{Kind: KindVolume, Name: one.Name, Role: one.Role, Size: one.Size, Cause: fmt.Sprintf("runner %s is gone", one.Runner)}
		if one.Role == fleet.Member {
			removal.Fleet = one.Fleet
		}
		add(removal)
	}
	for _, one := range all.Probes {
		if all.Now.Sub(one.Created) >= ProbeGrace {
			plan.Removals = append(plan.Removals, Removal{Kind: KindImage, Name: strings.Join(one.Tags, " "), ID: one.ID, Tags: one.Tags, Role: fleet.Probe, Size: one.Size, Cause: "its runnerctl doctor is gone"})
		}
	}
	// One fleet after another, because each has a lock.
	sort.SliceStable(plan.Removals, func(i, j int) bool { return plan.Removals[i].Fleet < plan.Removals[j].Fleet })
	for name := range skipped {
		plan.Skipped = append(plan.Skipped, name)
	}
	sort.Strings(plan.Skipped)
	return plan
}

// pruneImages keeps the image that up would use (if unknown, the newest), images that a
// container needs, and images that a user tagged with another name: an image built on ours
// inherits the label.
func pruneImages(all Inventory, gone map[string]bool, options Options) []Removal {
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
		removals = append(removals, Removal{Kind: KindImage, Name: name, ID: one.ID, Tags: one.Tags, Size: one.Size, Cause: "neither a container nor up uses it"})
	}
	return removals
}

// pruneProofs removes the proofs of runner images that are gone, or go with the other removals, and
// the images that were preloaded for their runners.
func pruneProofs(all Inventory, others []Removal) (removals []Removal) {
	stays := map[string]bool{}
	for _, one := range all.Images {
		stays[one.ID] = true
	}
	for _, one := range others {
		if one.Kind == KindImage {
			stays[one.ID] = false
		}
	}
	for _, one := range all.Volumes {
		if (one.Role == fleet.Proof || one.Role == fleet.Preload) && !stays[one.Image] && !slices.ContainsFunc(others, func(other Removal) bool { return other.Name == one.Name }) {
			removals = append(removals, Removal{Kind: KindVolume, Name: one.Name, Role: one.Role, Size: one.Size, Cause: "its image is gone"})
		}
	}
	return removals
}

// used reports whether a container that stays needs the image.
func (all Inventory) used(one Image, gone map[string]bool) bool {
	return slices.ContainsFunc(all.InUse[one.ID], func(container string) bool { return !gone[container] })
}

func shortID(id string) string {
	_, hex, _ := strings.Cut(id, ":")
	return hex[:min(12, len(hex))]
}

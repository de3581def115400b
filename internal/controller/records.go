package controller

import (
	"context"
	"fmt"
	"time"

	"github.com/runnerctl/runnerctl/internal/fleet"
)

const (
	// autopsyLimit bounds the time to read and save what a runner left.
	autopsyLimit = 30 * time.Second
	// queuedLimit is short because the figure is only nice to have.
	queuedLimit = 5 * time.Second
)

// burial is the record of a runner that an action removed. It is empty for an action that
// removed none, and without a store.
type burial struct {
	record *fleet.Record
	kept   error  // why the record could not be saved; nil if it was
	url    string // of the runner's target
}

// note words that the record is not saved; "" if it is.
func (b burial) note() string {
	if b.kept == nil {
		return ""
	}
	return fmt.Sprintf("; what it left is not kept: %v", b.kept)
}

// take removes a runner's container and volume with the given method of the engine, Remove or
// RemoveAtOnce. Its record is saved first, so that the runner is known at every moment.
func (x *executor) take(ctx context.Context, runner fleet.Runner, cause string, remove func(context.Context, fleet.Runner) error) (burial, error) {
	buried := burial{url: runner.Agent.URL}
	if x.store != nil {
		buried.record = x.autopsy(ctx, runner, cause)
		buried.kept = x.save(ctx, buried.record)
	}
	return buried, remove(ctx, runner)
}

// complete adds to a record what is known only after the action: its error, and how long the
// job was queued.
func (x *executor) complete(ctx context.Context, buried burial, err error) burial {
	if buried.record == nil {
		return buried
	}
	if err != nil {
		buried.record.Cause = firstLine(err)
	}
	x.askQueued(ctx, buried)
	if buried.kept != nil || err != nil || buried.record.Queued > 0 {
		buried.kept = x.save(ctx, buried.record)
	}
	return buried
}

// save stores a record. It replaces an earlier record of the same runner.
func (x *executor) save(ctx context.Context, record *fleet.Record) error {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), autopsyLimit)
	defer cancel()
	return x.store.SaveRecord(bounded, *record)
}

// askQueued adds how long the job was queued. It asks only for a sample of jobs, to save API
// calls.
func (x *executor) askQueued(ctx context.Context, buried burial) {
	record := buried.record
	forge, can := x.forges[buried.url].(fleet.Queues)
	if !can || record.JobURL == "" || !x.sample.Allow() {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, queuedLimit)
	defer cancel()
	if waited, err := forge.Queued(bounded, record.JobURL, record.Name); err == nil {
		record.Queued = waited.Seconds()
	}
}

// autopsy never fails: a runner that should go is removed even if its remains can't be read.
func (x *executor) autopsy(ctx context.Context, runner fleet.Runner, cause string) *fleet.Record {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), autopsyLimit)
	defer cancel()
	record, err := x.engine.Autopsy(bounded, runner)
	if err != nil {
		record = fleet.Record{Name: runner.Name, Fleet: runner.Fleet, Image: runner.Image, ImageID: runner.ImageID, SpecHash: runner.SpecHash, Created: runner.Created, ExitCode: runner.ExitCode}
		cause += fmt.Sprintf("; what it left can't be read: %v", err)
	}
	record.Cause = cause
	return &record
}

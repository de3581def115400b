package controller

import (
	"context"
	"fmt"
	"time"

	"github.com/runnerctl/runnerctl/internal/fleet"
)

const (
	// postMortemLimit bounds the time to read and save the record of a runner.
	postMortemLimit = 30 * time.Second
	// queuedLimit and cacheUseLimit are short because the figures are only nice to have.
	queuedLimit   = 5 * time.Second
	cacheUseLimit = 5 * time.Second
)

// postMortem is the record of a runner that an action removed. It is empty for an action that
// removed none, and without a store.
type postMortem struct {
	record *fleet.Record
	kept   error  // why the record could not be saved; nil if it was
	url    string // of the runner's target
}

// note words that the record is not saved; "" if it is.
func (b postMortem) note() string {
	if b.kept == nil {
		return ""
	}
	return fmt.Sprintf("; its record is not saved: %v", b.kept)
}

// removeAndRecord removes a runner's container and volume with the given method of the engine, Remove or
// RemoveAtOnce. Its record is saved first, so that the runner is known at every moment.
func (x *executor) removeAndRecord(ctx context.Context, runner fleet.Runner, cause string, remove func(context.Context, fleet.Runner) error) (postMortem, error) {
	post := postMortem{url: runner.Agent.URL}
	if x.store != nil {
		post.record = x.postMortem(ctx, runner, cause)
		post.kept = x.save(ctx, post.record)
	}
	return post, remove(ctx, runner)
}

// completeRecord adds the facts to a record that are known only after the action: its error, how long the
// job was queued, and how it used the host's cache.
func (x *executor) completeRecord(ctx context.Context, post postMortem, err error) postMortem {
	if post.record == nil {
		return post
	}
	if err != nil {
		post.record.Cause = firstLine(err)
	}
	x.askQueued(ctx, post)
	x.askCacheUse(ctx, post.record)
	if post.kept != nil || err != nil || post.record.Queued > 0 || post.record.Cache != nil {
		post.kept = x.save(ctx, post.record)
	}
	return post
}

// save stores a record. It replaces an earlier record of the same runner.
func (x *executor) save(ctx context.Context, record *fleet.Record) error {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), postMortemLimit)
	defer cancel()
	return x.store.SaveRecord(bounded, *record)
}

// askQueued adds how long the job was queued. It asks only for a sample of jobs, to save API
// calls.
func (x *executor) askQueued(ctx context.Context, post postMortem) {
	record := post.record
	github, can := x.targets[post.url].(fleet.Queues)
	if !can || record.JobURL == "" || !x.sample.Allow() {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, queuedLimit)
	defer cancel()
	if waited, err := github.Queued(bounded, record.JobURL, record.Name); err == nil {
		record.Queued = waited.Seconds()
	}
}

// askCacheUse adds how the job used the host's cache.
func (x *executor) askCacheUse(ctx context.Context, record *fleet.Record) {
	if x.cacheUse == nil || !record.HadJob() {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, cacheUseLimit)
	defer cancel()
	if use, err := x.cacheUse(bounded, record.Name); err == nil {
		record.Cache = use
	}
}

// postMortem never fails: a runner that should go is removed even if its remains can't be read.
func (x *executor) postMortem(ctx context.Context, runner fleet.Runner, cause string) *fleet.Record {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), postMortemLimit)
	defer cancel()
	record, err := x.engine.PostMortem(bounded, runner)
	if err != nil {
		record = fleet.Record{Name: runner.Name, Fleet: runner.Fleet, Image: runner.Image, ImageID: runner.ImageID, SpecHash: runner.SpecHash, Created: runner.Created, ExitCode: runner.ExitCode}
		cause += fmt.Sprintf("; its record is incomplete: %v", err)
	}
	record.Cause = cause
	return &record
}

package controller

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runnerctl/runnerctl/internal/fleet"
)

// GitHub notices the end of a busy runner late: after a crash, when the lease of its job has
// expired. down waits for more than 90 seconds, and then names the registration.
func TestGitHubNoticesLate(t *testing.T) {
	for late, stays := range map[time.Duration]bool{time.Second: false, 90 * time.Second: false, time.Hour: true} {
		synctest.Test(t, func(t *testing.T) {
			w := newOutside()
			crashed := w.standing("ci-a", jitSpec.Agent)
			crashed.State, crashed.Ready, crashed.ExitCode = fleet.Exited, false, 137
			w.runners["ci-a"] = crashed
			w.setBusy("ci-a", true)
			time.AfterFunc(late, func() { w.setBusy("ci-a", false) })
			begun := time.Now()
			_, err := execute(t, w, removes([]fleet.Runner{crashed}), fleet.Desired{Policy: fleet.Policy{JobWait: time.Minute}})
			var left *LeftError
			if errors.As(err, &left) != stays || !stays && err != nil || len(w.runners) > 0 {
				t.Errorf("%s late: %v, %v is left", late, err, w.runners)
			}
			if took := time.Since(begun); stays && took > 2*noticeLimit || !stays && took < late {
				t.Errorf("%s late: it took %s", late, took)
			}
		})
	}
}

// An interrupt ends the wait for GitHub to notice a runner's end.
func TestNoticeIsInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newOutside()
		crashed := w.standing("ci-a", jitSpec.Agent)
		crashed.State = fleet.Exited
		w.setBusy("ci-a", true)
		ctx, interrupt := context.WithCancel(t.Context())
		time.AfterFunc(5*time.Second, interrupt)
		begun := time.Now()
		err := executeIn(ctx, Controller{Engine: w, Targets: fleet.Targets{acme: w}, Progress: &progressLog{}}, removes([]fleet.Runner{crashed}), fleet.Desired{Policy: fleet.Policy{JobWait: time.Minute}})
		if !errors.Is(err, context.Canceled) || time.Since(begun) > 10*time.Second {
			t.Errorf("after %s: %v", time.Since(begun), err)
		}
	})
}

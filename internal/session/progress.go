package session

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/runnerctl/runnerctl/internal/hint"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// Progress shows a live line per runner.
type Progress struct {
	live *ui.Live
	done *atomic.Int32
}

// NewProgress redraws its lines if the terminal can, unless mode (--progress) is plain.
func (s Session) NewProgress(mode string, theme ui.Theme) Progress {
	return Progress{ui.NewLive(s.Streams.Err, s.Redraws() && mode != "plain", theme), new(atomic.Int32)}
}

// Working implements controller.Progress.
func (p Progress) Working(name, text string) { p.live.Set(name, text) }

// Done implements controller.Progress.
func (p Progress) Done(name, text string, took time.Duration) {
	p.done.Add(1)
	p.live.Done(name, fmt.Sprintf("%s  %s", text, ui.Duration(took)))
}

// Failed implements controller.Progress.
func (p Progress) Failed(name string, err error) { p.live.Fail(name, hint.FirstLine(err)) }

// Close ends the display.
func (p Progress) Close() { p.live.Close() }

// Count returns the number of operations done.
func (p Progress) Count() int { return int(p.done.Load()) }

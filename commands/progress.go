package commands

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/runnerctl/runnerctl/internal/hint"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// progress shows a live line per runner.
type progress struct {
	live *ui.Live
	done *atomic.Int32 // operations
}

// newProgress redraws its lines if the terminal can, unless mode (--progress) is plain.
func newProgress(d deps, mode string, theme ui.Theme) progress {
	return progress{ui.NewLive(d.streams.Err, d.redraws() && mode != "plain", theme), new(atomic.Int32)}
}

func (p progress) Working(name, text string) { p.live.Set(name, text) }

func (p progress) Done(name, text string, took time.Duration) {
	p.done.Add(1)
	p.live.Done(name, fmt.Sprintf("%s  %s", text, ui.Duration(took)))
}

func (p progress) Failed(name string, err error) { p.live.Fail(name, hint.FirstLine(err)) }

func (p progress) Close() { p.live.Close() }

//go:build !windows

package execute

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/moby/term"
)

// watchSize yields the terminal's (height, width) whenever it changes.
func watchSize(fd uintptr) (sizes chan [2]uint, stop func()) {
	signals := make(chan os.Signal, 1)
	sizes = make(chan [2]uint, 1)
	signal.Notify(signals, syscall.SIGWINCH)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case <-signals:
				if size, err := term.GetWinsize(fd); err == nil {
					select {
					case sizes <- [2]uint{uint(size.Height), uint(size.Width)}:
					default: // the next value has the newer size
					}
				}
			}
		}
	}()
	return sizes, func() {
		signal.Stop(signals)
		close(done)
	}
}

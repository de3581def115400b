package ui

import (
	"fmt"
	"io"
	"sync"
	"time"
)

var spinner = []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")

// Live shows one line per item: redrawn in place on a terminal, else only what
// an item ended with.
type Live struct {
	w     io.Writer
	tty   bool
	theme Theme

	mu      sync.Mutex
	order   []string
	working map[string]string
	drawn   int // lines of the last drawing
	frame   int
	stop    chan struct{}
	stopped sync.WaitGroup
}

// NewLive starts; Close ends it.
func NewLive(w io.Writer, tty bool, theme Theme) *Live {
	l := &Live{w: w, tty: tty, theme: theme, working: map[string]string{}, stop: make(chan struct{})}
	if tty {
		l.stopped.Go(l.spin)
	}
	return l
}

func (l *Live) spin() {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-ticker.C:
			l.mu.Lock()
			l.frame++
			l.redraw()
			l.mu.Unlock()
		}
	}
}

// Set tells what an item is doing.
func (l *Live) Set(key, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.working[key]; !known {
		l.order = append(l.order, key)
	}
	l.working[key] = text
	l.redraw()
}

// Done ends an item's line well.
func (l *Live) Done(key, text string) { l.end(l.theme.Check(), key, text) }

// Fail ends an item's line badly.
func (l *Live) Fail(key, text string) { l.end(l.theme.Cross(), key, text) }

func (l *Live) end(mark, key, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.erase()
	fmt.Fprintf(l.w, "%s %s   %s\n", mark, key, text)
	delete(l.working, key)
	for i, one := range l.order {
		if one == key {
			l.order = append(l.order[:i], l.order[i+1:]...)
			break
		}
	}
	l.redraw()
}

func (l *Live) erase() {
	if l.drawn > 0 {
		fmt.Fprintf(l.w, "\x1b[%dA\x1b[J", l.drawn)
		l.drawn = 0
	}
}

func (l *Live) redraw() {
	if !l.tty {
		return
	}
	l.erase()
	for _, key := range l.order {
		fmt.Fprintf(l.w, "%c %s   %s\n", spinner[l.frame%len(spinner)], key, l.theme.Dim(l.working[key]))
	}
	l.drawn = len(l.order)
}

// Close stops drawing.
func (l *Live) Close() {
	close(l.stop)
	l.stopped.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.erase()
}

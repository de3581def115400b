package ui

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

var spinner = []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")

// Live shows one line per item. On a terminal it redraws the lines in place; otherwise it
// prints only how each item ended.
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

// NewLive starts a Live. Close ends it.
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

// Set shows the current action of an item.
func (l *Live) Set(key, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.working[key]; !known {
		l.order = append(l.order, key)
	}
	l.working[key] = text
	l.redraw()
}

// Done ends an item's line with success.
func (l *Live) Done(key, text string) { l.end(l.theme.Check(), key, text) }

// Fail ends an item's line with failure.
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
	// Lines that wrap, and more lines than fit, could not be erased again. The size is queried
	// each time, because the window may have changed.
	columns, rows := size(l.w)
	shown := l.order
	if rows > 2 && len(shown) > rows-1 {
		shown = shown[:rows-2]
	}
	for _, key := range shown {
		text, room := l.working[key], columns-1-width(key)-5
		switch {
		case columns == 0: // unknown
		case room > 0:
			text = cut(text, room)
		default:
			key, text = cut(key, max(columns-3, 1)), ""
		}
		fmt.Fprintln(l.w, strings.TrimRight(fmt.Sprintf("%c %s   %s", spinner[l.frame%len(spinner)], key, l.theme.Dim(text)), " "))
	}
	l.drawn = len(shown)
	if more := len(l.order) - len(shown); more > 0 {
		fmt.Fprintln(l.w, l.theme.Dim(cut(fmt.Sprintf("  and %d more", more), columns-1)))
		l.drawn++
	}
}

// Close stops drawing.
func (l *Live) Close() {
	close(l.stop)
	l.stopped.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.erase()
}

package fleet

import (
	"slices"
	"strings"
	"time"
)

// Sources are the programs whose lines a runner's log holds.
var Sources = []string{"start", "containerd", "dockerd", "agent"}

// Diagnostics is a source beside these: what the agent of a runner that is gone wrote
// into its own files.
const Diagnostics = "diagnostics"

// LogLine is one line of a runner's log. The JSON form is the public shape of
// `logs -o json`.
type LogLine struct {
	Time   time.Time `json:"time"`
	Runner string    `json:"runner"`
	Source string    `json:"source"`
	Text   string    `json:"text"`
}

// ParseLogLine tells a line's source from its text; what has none is of the
// start (slirp4netns's own lines, say).
func ParseLogLine(at time.Time, runner, raw string) LogLine {
	line := LogLine{Time: at, Runner: runner, Source: Sources[0], Text: raw}
	for _, source := range Sources {
		if text, ok := strings.CutPrefix(raw, source+":"); ok {
			line.Source, line.Text = source, strings.TrimPrefix(text, " ")
			break
		}
	}
	return line
}

// usual are warnings that every healthy inner daemon writes.
var usual = []string{
	"Running in rootless mode. This mode has feature limitations.",
	"Not using native diff for overlay2",
}

// Telling leaves out the lines that say nothing about a failure.
func Telling(lines []string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(line string) bool {
		return slices.ContainsFunc(usual, func(text string) bool { return strings.Contains(line, text) })
	})
}

// overlap is how far back a log is read again when it is read on: lines of two
// streams may reach it a moment after younger ones.
const overlap = time.Second

// Cursor is a place in one runner's log. The log is read in several goes (first
// what is there, then what comes, again after a restart); the cursor sees to it
// that no line is missed or told twice.
type Cursor struct {
	first  time.Time // of the lines seen
	last   time.Time
	recent []LogLine // those within overlap of last
	replay map[LogLine]int
}

// Since begins the next go: from when on to read. Zero before any line.
func (c *Cursor) Since() time.Time {
	c.replay = map[LogLine]int{}
	for _, line := range c.recent {
		c.replay[line]++
	}
	since := c.last.Add(-overlap)
	if c.last.IsZero() || since.Before(c.first) {
		return c.first
	}
	return since
}

// New tells whether a line was not seen before, and remembers it.
func (c *Cursor) New(line LogLine) bool {
	if c.replay[line] > 0 {
		c.replay[line]--
		return false
	}
	if c.first.IsZero() {
		c.first = line.Time
	}
	if line.Time.After(c.last) {
		c.last = line.Time
	}
	c.recent = append(c.recent, line)
	for c.recent[0].Time.Before(c.last.Add(-overlap)) {
		c.recent = c.recent[1:]
	}
	return true
}

// Tail keeps the last lines of what is added.
type Tail struct {
	limit int
	lines []LogLine
}

// NewTail keeps limit lines.
func NewTail(limit int) *Tail { return &Tail{limit: limit} }

// Add a line.
func (t *Tail) Add(line LogLine) {
	t.lines = append(t.lines, line)
	if len(t.lines) > 2*t.limit+16 { // now and then, not for every line
		t.lines = append([]LogLine{}, t.Lines()...)
	}
}

// Lines that are kept.
func (t *Tail) Lines() []LogLine { return t.lines[max(0, len(t.lines)-t.limit):] }

// Merge yields what several logs hold in the order of time. Each log comes
// through a channel of its own, which ends by being closed.
func Merge(logs []<-chan LogLine, yield func(LogLine)) {
	heads := make([]*LogLine, len(logs))
	next := func(i int) {
		heads[i] = nil
		if line, ok := <-logs[i]; ok {
			heads[i] = &line
		}
	}
	for i := range logs {
		next(i)
	}
	for {
		oldest := -1
		for i, head := range heads {
			if head != nil && (oldest < 0 || head.Time.Before(heads[oldest].Time)) {
				oldest = i
			}
		}
		if oldest < 0 {
			return
		}
		yield(*heads[oldest])
		next(oldest)
	}
}

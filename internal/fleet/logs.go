package fleet

import (
	"slices"
	"strings"
	"time"
)

// Sources are the programs whose lines appear in a runner's log.
var Sources = []string{"start", "containerd", "dockerd", "agent"}

// Diagnostics is one more source: the log files that the agent of a removed runner wrote.
const Diagnostics = "diagnostics"

// LogLine is one line of a runner's log. The JSON form is the public shape of
// `logs -o json`.
type LogLine struct {
	Time   time.Time `json:"time"`
	Runner string    `json:"runner"`
	Source string    `json:"source"`
	Text   string    `json:"text"`
}

// ParseLogLine reads a line's source from its text. A line without a source belongs to the
// start (slirp4netns's own lines, for example).
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

// Meaningful drops lines that do not help to explain a failure.
func Meaningful(lines []string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(line string) bool {
		return slices.ContainsFunc(usual, func(text string) bool { return strings.Contains(line, text) })
	})
}

// overlap is how far back a log is read again when reading resumes: lines of two streams may
// arrive a moment after newer ones.
const overlap = time.Second

// Cursor is a position in one runner's log. A log is read in several passes (first the
// existing lines, then new ones, and again after a restart). The cursor ensures that no line
// is missed or shown twice.
type Cursor struct {
	first  time.Time // time of the first line seen
	last   time.Time
	recent []LogLine // lines within overlap of last
	replay map[LogLine]int
}

// Since starts the next pass and returns the time to read from. It returns the zero time
// before the first line.
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

// New reports whether a line is new, and remembers it.
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

// Tail keeps the last lines of those added.
type Tail struct {
	limit int
	lines []LogLine
}

// NewTail returns a Tail that keeps limit lines.
func NewTail(limit int) *Tail { return &Tail{limit: limit} }

// Add adds a line.
func (t *Tail) Add(line LogLine) {
	t.lines = append(t.lines, line)
	if len(t.lines) > 2*t.limit+16 { // occasionally, not for every line
		t.lines = append([]LogLine{}, t.Lines()...)
	}
}

// Lines returns the kept lines.
func (t *Tail) Lines() []LogLine { return t.lines[max(0, len(t.lines)-t.limit):] }

// Merge yields the lines of several logs in order of time. Each log comes through its own
// channel, which is closed at the end of the log.
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

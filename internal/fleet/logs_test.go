package fleet

import (
	"strings"
	"testing"
	"time"
)

func TestParseLogLine(t *testing.T) {
	for raw, want := range map[string]string{
		"dockerd: level=info":   "dockerd|level=info",
		"containerd:   two":     "containerd|  two",
		"agent:":                "agent|",
		"[rootlesskit] x: y":    "start|[rootlesskit] x: y",
		"start: /dev/net/tun":   "start|/dev/net/tun",
		"dockerdx: y":           "start|dockerdx: y",
		"somebody: dockerd: no": "start|somebody: dockerd: no",
		"":                      "start|",
	} {
		if line := ParseLogLine(time.Time{}, "ci-1", raw); line.Source+"|"+line.Text != want {
			t.Errorf("%q: got %s|%s", raw, line.Source, line.Text)
		}
	}
}

func line(milliseconds int, text string) LogLine {
	return LogLine{Time: time.UnixMilli(int64(milliseconds)), Text: text}
}

// A log is read in three passes: lines of the overlap come again, one line comes late with an
// older time, and two lines are identical.
func TestCursorMissesAndDoublesNothing(t *testing.T) {
	goes := [][]LogLine{
		{line(1000, "a"), line(5000, "b"), line(5100, "c"), line(5100, "c")},
		{line(5000, "b"), line(5050, "late"), line(5100, "c"), line(5100, "c"), line(5200, "d")},
		{line(5000, "b"), line(5050, "late"), line(5100, "c"), line(5100, "c"), line(5200, "d"), line(5100, "c"), line(9000, "e")},
	}
	var cursor Cursor
	var seen []string
	for i, lines := range goes {
		since := cursor.Since()
		for _, one := range lines {
			if one.Time.Before(since) {
				t.Errorf("go %d does not ask for %s", i, one.Text)
			}
			if cursor.New(one) {
				seen = append(seen, one.Text)
			}
		}
	}
	if got := strings.Join(seen, " "); got != "a b c c late d c e" {
		t.Error(got)
	}
	if since := cursor.Since(); !since.Equal(time.UnixMilli(8000)) {
		t.Errorf("reads on from %s", since)
	}
}

// If only the last few lines were read, no earlier line comes again.
func TestCursorAfterTail(t *testing.T) {
	var cursor Cursor
	cursor.New(line(5100, "last"))
	if since := cursor.Since(); !since.Equal(time.UnixMilli(5100)) {
		t.Errorf("reads on from %s", since)
	}
}

func TestTail(t *testing.T) {
	for _, limit := range []int{0, 1, 3, 500} {
		tail := NewTail(limit)
		for i := range 100 {
			tail.Add(line(i, ""))
		}
		lines := tail.Lines()
		if len(lines) != min(limit, 100) || len(lines) > 0 && !lines[0].Time.Equal(time.UnixMilli(int64(100-len(lines)))) {
			t.Errorf("%d: %d lines", limit, len(lines))
		}
	}
}

func TestMerge(t *testing.T) {
	logs := make([]<-chan LogLine, 3)
	for i, lines := range [][]LogLine{{line(1, "a"), line(4, "d")}, {}, {line(2, "b"), line(3, "c"), line(9, "e")}} {
		log := make(chan LogLine)
		logs[i] = log
		go func() {
			defer close(log)
			for _, one := range lines {
				log <- one
			}
		}()
	}
	var got string
	Merge(logs, func(one LogLine) { got += one.Text })
	if got != "abcde" {
		t.Error(got)
	}
}

func TestTelling(t *testing.T) {
	lines := []string{
		`dockerd: level=warning msg="Running in rootless mode. This mode has feature limitations."`,
		"dockerd: failed to start daemon: no room",
		`dockerd: level=warning msg="Not using native diff for overlay2, this may cause degraded performance" storage-driver=overlay2`,
	}
	if got := Meaningful(lines); len(got) != 1 || got[0] != lines[1] {
		t.Errorf("%q", got)
	}
}

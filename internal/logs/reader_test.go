package logs

import (
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/internal/fleet"
)

func TestLinesOfARecord(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	line := fleet.LogLine{Time: at, Runner: "ci-7k2p", Source: "agent", Text: "Killed \x1b[2J"}
	record := fleet.Record{Name: "ci-7k2p", Finished: at.Add(time.Minute), Log: []byte(line.Paper() + "\n"), Diagnostics: []byte("==> Worker.log <==\na worker spoke\n")}
	if lines := linesOf(&record, false); len(lines) != 1 || lines[0] != line {
		t.Errorf("got %+v, want %+v alone", lines, line)
	}
	spoken := fleet.LogLine{Time: record.Finished, Runner: "ci-7k2p", Source: "diagnostics", Text: "a worker spoke"}
	if lines := linesOf(&record, true); len(lines) != 3 || lines[2] != spoken {
		t.Errorf("got %+v, want 3 lines, the last %+v", lines, spoken)
	}
}

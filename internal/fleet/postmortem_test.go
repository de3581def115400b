package fleet

import (
	"reflect"
	"testing"
	"time"
)

func TestReadJob(t *testing.T) {
	const target = "https://github.com/acme/api"
	const run = "https://github.com/acme/api/actions/runs/4711/attempts/1"
	agent := func(texts ...string) (lines []LogLine) {
		for _, text := range texts {
			lines = append(lines, ParseLogLine(time.Time{}, "ci-7k2p", text))
		}
		return lines
	}
	for name, test := range map[string]struct {
		lines []LogLine
		note  string
		want  Record
	}{
		"a job": {
			agent("agent: 2026-01-01 00:00:00Z: Running job: build (x64)", "agent: 2026-01-01 00:00:09Z: Job build (x64) completed with result: Failed"), run + " build\n",
			Record{Job: "build (x64)", JobURL: run, Conclusion: "failure"},
		},
		"cut off": {agent("agent: 2026-01-01 00:00:00Z: Running job: build"), run + " build\n", Record{Job: "build", JobURL: run}},
		"the second of two": {
			agent("agent: 2026-01-01 00:00:00Z: Running job: a", "agent: 2026-01-01 00:00:09Z: Job a completed with result: Succeeded", "agent: 2026-01-01 00:01:00Z: Running job: b"), "",
			Record{Job: "b"},
		},
		"the note alone":              {nil, run + " build\n", Record{Job: "build", JobURL: run}},
		"another program's words":     {agent("dockerd: 2026-01-01 00:00:00Z: Running job: evil"), "", Record{}},
		"another host":                {nil, "https://evil.example/acme/api/actions/runs/1/attempts/1 build\n", Record{}},
		"a host that only begins so":  {nil, "https://github.com.evil.example/acme/api/actions/runs/1/attempts/1 build\n", Record{}},
		"somebody before the host":    {nil, "https://me@github.com/acme/api/actions/runs/1/attempts/1 build\n", Record{}},
		"a question behind":           {nil, run + "?x=1 build\n", Record{}},
		"another page of the host":    {nil, "https://github.com/acme/api/settings build\n", Record{}},
		"a name with control letters": {nil, run + " \x1b[2J\n", Record{JobURL: run}},
		"a second line":               {nil, run + " build\nmore\n", Record{JobURL: run}},
		"no note":                     {nil, "", Record{}},
	} {
		var got Record
		got.ReadJob(test.lines, test.note, target)
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestPaper(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	lines := []LogLine{{at, "ci-7k2p", "start", "slirp: starts"}, {at.Add(time.Second), "ci-7k2p", "agent", "ends: with 0"}}
	record := Record{Name: "ci-7k2p"}
	for _, line := range lines {
		record.Log = append(record.Log, line.Paper()+"\n"...)
	}
	if got := record.LogLines(); !reflect.DeepEqual(got, lines) {
		t.Errorf("%+v", got)
	}
}

package main

import (
	"maps"
	"testing"
	"time"
)

func TestProcessorTimes(t *testing.T) {
	const text = "1 (machine) S 0 1 1 0 -1 4194560 2390 5320 0 0 3 4 1 2 20 0 8 0 100\n" +
		"9 (tricky) name) S 1 1 1 0 -1 4194560 2390 5320 0 0 10 20 0 0 20 0 8 0 100\n" +
		"12 (dockerd) S 9 1 1 0 -1 4194560 2390 5320 0 0 30 1 7 8 20 0 8 0 100\n" +
		"13 (dockerd) Z 9 1 1 0 -1 4194560 2390 5320 0 0 1 0 0 0 20 0 8 0 100\n"
	got, err := processorTimes(text)
	want := map[string]time.Duration{
		"machine": 70 * time.Millisecond, "machine/": 30 * time.Millisecond, "tricky) name": 300 * time.Millisecond, "tricky) name/": 0,
		"dockerd": 320 * time.Millisecond, "dockerd/": 150 * time.Millisecond,
	}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	for _, wrong := range []string{"1 machine S 0\n", "1 (machine) S 0 1\n", "1 (machine) S 0 1 1 0 -1 4194560 2390 5320 0 0 x 4 1 2 20 0 8\n"} {
		if _, err := processorTimes(wrong); err == nil {
			t.Errorf("%q: no error", wrong)
		}
	}
}

// The profile of a report has each row, and shares of their sum.
func TestProfile(t *testing.T) {
	r := &Results{}
	if rows := r.profile(); rows != nil {
		t.Errorf("without samples: %v", rows)
	}
	for _, program := range profiled {
		r.Add(start1CPU, program.row, "s", 0.1)
	}
	r.Add(start1CPU, others, "s", 0.3)
	rows := r.profile()
	if len(rows) != len(profiled)+1 || rows[0].Share < 0.0999 || rows[0].Share > 0.1001 || rows[len(rows)-1].Row != others || rows[len(rows)-1].Seconds != 0.3 {
		t.Errorf("got %+v", rows)
	}
}

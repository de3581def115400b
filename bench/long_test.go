//go:build long

package main

import (
	"testing"
	"time"
)

var interruptions = []time.Duration{1, 4, 9, 16} // s

// Every measurement yields samples on a real engine, and nothing is left behind.
func TestBench(t *testing.T) {
	api := engine(t)
	before := labelled(t, api)
	results, err := benchmark(t.Context(), tiny, true, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range sample().Series {
		if series, found := results.find(one.Measure, one.Side); !found || series.Median == 0 {
			t.Errorf("%s of %s: %+v", one.Measure, one.Side, series)
		}
	}
	if left := labelled(t, api); left != before {
		t.Errorf("%d objects before, %d after", before, left)
	}
}

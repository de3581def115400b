package controller

import (
	"testing"
	"time"
)

func TestBackOff(t *testing.T) {
	var b backOff
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	want := []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300}
	for i, seconds := range want {
		pause, fresh := b.failed(now, now.Add(time.Second))
		if pause != seconds*time.Second || !fresh {
			t.Errorf("pause %d: %s, fresh %t", i, pause, fresh)
		}
		if _, fresh := b.failed(now, now.Add(2*time.Second)); fresh {
			t.Errorf("pause %d: what was begun before tells something new", i)
		}
		now = now.Add(pause + time.Second)
	}
	b.reset()
	if pause, _ := b.failed(now, now); pause != time.Second {
		t.Errorf("after a reset %s", pause)
	}
}

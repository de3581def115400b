package controller

import "time"

const (
	firstPause   = time.Second
	longestPause = 5 * time.Minute
)

// backOff is a pause that doubles with each failure. A failed attempt that was started before
// the previous failure adds no information: ten attempts that fail together count once.
type backOff struct {
	level int
	last  time.Time // failure
	until time.Time
}

// failed records the failure of an attempt that started at begun. fresh is true if this
// failure counts.
func (b *backOff) failed(begun, now time.Time) (pause time.Duration, fresh bool) {
	if b.level > 0 && begun.Before(b.last) {
		return b.until.Sub(now), false
	}
	pause = longestPause
	if b.level < 9 {
		pause = min(firstPause<<b.level, longestPause)
	}
	b.level++
	b.last, b.until = now, now.Add(pause)
	return pause, true
}

func (b *backOff) reset() { *b = backOff{} }

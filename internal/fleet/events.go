package fleet

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
)

// String returns the event as one line, without its time.
func (e Event) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%-10s  ", e.Kind)
	if e.Runner != "" {
		text.WriteString(e.Runner + "  ")
	}
	text.WriteString(e.Text)
	if e.Took >= 0.05 {
		fmt.Fprintf(&text, "  %.1fs", e.Took)
	}
	return text.String()
}

// Log writes the event as a structured line.
func (e Event) Log(logger *slog.Logger) {
	level := slog.LevelInfo
	if e.Kind == FailedEvent || e.Kind == BackOffEvent {
		level = slog.LevelWarn
	}
	attributes := []slog.Attr{slog.String("fleet", e.Fleet), slog.String("event", string(e.Kind))}
	if e.Runner != "" {
		attributes = append(attributes, slog.String("runner", e.Runner))
	}
	if e.Took > 0 {
		attributes = append(attributes, slog.Float64("took_seconds", e.Took))
	}
	if len(e.Last) > 0 {
		attributes = append(attributes, slog.Any("last", e.Last))
	}
	logger.LogAttrs(context.Background(), level, e.Text, attributes...)
}

// EventsAfter returns the events of now that came after the last one in seen.
func EventsAfter(seen, now []Event) []Event {
	if len(seen) == 0 {
		return now
	}
	last := seen[len(seen)-1]
	for i := len(now) - 1; i >= 0; i-- {
		if now[i].Time.Equal(last.Time) && now[i].Text == last.Text && now[i].Runner == last.Runner {
			return now[i+1:]
		}
	}
	return now
}

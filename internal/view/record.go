package view

import (
	"fmt"
	"io"
	"time"

	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// lastOfRecord is how many of a runner's last log lines a record shows.
const lastOfRecord = 10

// cacheUse words the use of a host's cache by a job.
func cacheUse(of *fleet.CacheUse) string {
	if of == nil {
		return "–"
	}
	return fmt.Sprintf("hits: %d, misses: %d, restored: %s, saved: %s, images: %s",
		of.Hits, of.Misses, ui.Bytes(of.RestoredBytes), ui.Bytes(of.SavedBytes), ui.Bytes(of.ImageBytes))
}

// WriteRecord prints the record of a removed runner. more is the command that shows the log
// files of its agent.
func WriteRecord(w io.Writer, of *fleet.Record, more string, theme ui.Theme) {
	at := func(when time.Time) string {
		if when.IsZero() {
			return "–"
		}
		return when.Format(time.RFC3339)
	}
	end := fmt.Sprintf("%s, exit code %d: %s", at(of.Finished), of.ExitCode, of.Verdict)
	if of.Finished.IsZero() {
		end = "it ran when it was removed"
	}
	diagnostics := "–"
	if size := len(of.Diagnostics); size > 0 {
		diagnostics = fmt.Sprintf("%s: %s", ui.Bytes(int64(size)), more)
	}
	writeSection(w, theme, of.Name, [][2]string{
		{"fleet", of.Fleet},
		{"state", "gone"},
		{"cause", known(of.Cause)},
		{"created", at(of.Created)},
		{"started", at(of.Started)},
		{"end", end},
		{"job", known(of.Job)},
		{"conclusion", known(of.Conclusion)},
		{"page", known(of.JobURL)},
		{"cache", cacheUse(of.Cache)},
		{"image", of.Image},
		{"image id", of.ImageID},
		{"spec", of.SpecHash},
		{"diagnostics", diagnostics},
	})
	lines := of.LogLines()
	if len(lines) == 0 {
		return
	}
	var last [][2]string
	for _, line := range lines[max(0, len(lines)-lastOfRecord):] {
		last = append(last, [2]string{line.Source, ui.Plain(line.Text)})
	}
	writeSection(w, theme, "last words", last)
}

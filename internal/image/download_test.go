package image

import (
	"bytes"
	"testing"
	"time"
)

// A terminal gets a line that is redrawn, anything else one line.
func TestDownload(t *testing.T) {
	for name, test := range map[string]struct {
		redraw bool
		total  int64
		want   string
	}{
		"terminal":               {true, 2 << 20, "\ragent  1MiB of 2MiB\x1b[K\ragent  2MiB of 2MiB\x1b[K\n"},
		"terminal, size unknown": {true, -1, "\ragent  1MiB\x1b[K\ragent  2MiB\x1b[K\n"},
		"file":                   {false, 2 << 20, "agent  of 2MiB\n"},
		"file, size unknown":     {false, -1, "agent \n"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			show := &download{out: &out, redraw: test.redraw, title: "agent"}
			show.update(1<<20, test.total)
			show.update(1<<20+1, test.total) // too early to be shown
			show.next = time.Time{}
			show.update(2<<20, test.total)
			show.end()
			if got := out.String(); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
	var out bytes.Buffer
	(&download{out: &out, redraw: true}).end()
	if out.Len() > 0 {
		t.Errorf("nothing was downloaded: %q", out.String())
	}
}

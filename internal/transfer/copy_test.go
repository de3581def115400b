package transfer

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/runnerctl/runnerctl/internal/archive"
	"github.com/runnerctl/runnerctl/internal/ui"
)

func TestCheck(t *testing.T) {
	for _, test := range []struct {
		from, to string
		terminal bool
		want     string
	}{
		{"src", "ci-7k2p:", false, ""},
		{"ci-7k2p:work", "dst", true, ""},
		{"ci-7k2p:work", "-", false, ""},
		{"ci-7k2p:work", "-", true, "refusing to write a tar stream to a terminal: redirect or pipe it"},
		{"-", "ci-7k2p:", true, ""},
		{"src", "dst", false, "the source or the destination must be in a runner: NAME:PATH"},
		{"ci-7k2p:a", "ci-7k2p:b", false, "the source or the destination must be on this machine"},
		{"ci-7k2p:a", "", false, "a path is missing"},
	} {
		got := ""
		if err := (Copy{From: ParsePlace(test.from), To: ParsePlace(test.to)}).Check(ui.Streams{OutTTY: test.terminal}); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%q to %q, terminal %v: got %q, want %q", test.from, test.to, test.terminal, got, test.want)
		}
	}
}

func TestWriteSkipped(t *testing.T) {
	for count, last := range map[int]string{1: "skipped file 0\n", 10: "skipped file 9\n", 12: "skipped 2 more\n"} {
		var summary archive.Summary
		for i := range count {
			summary.Skipped = append(summary.Skipped, fmt.Sprintf("file \x1b[31m%d", i))
		}
		var out bytes.Buffer
		writeSkipped(&out, summary)
		if got, want := bytes.Count(out.Bytes(), []byte("\n")), min(count, 11); got != want || !bytes.HasSuffix(out.Bytes(), []byte(last)) {
			t.Errorf("%d skipped: %d lines, want %d, the last of them %q:\n%s", count, got, want, last, out.String())
		}
	}
}

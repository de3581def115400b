package view

import (
	"bytes"
	"os"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/ui"
)

func TestWriteRecord(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	line := fleet.LogLine{Time: at, Runner: "ci-7k2p", Source: "agent", Text: "Killed \x1b[2J"}
	record := fleet.Record{
		Name: "ci-7k2p", Fleet: "ci", Image: "runnerctl/runner:4f2a91c", ImageID: "sha256:aa", SpecHash: "bb", Created: at, Started: at, Finished: at.Add(time.Minute),
		ExitCode: 137, Verdict: "killed by the kernel: out of memory", OOMKilled: true, Job: "build", JobURL: "https://github.com/acme/api/actions/runs/4711/attempts/1", Cause: "it ended: killed",
		Cache: &fleet.CacheUse{Hits: 2, Misses: 1, RestoredBytes: 320 << 20},
		Log:   []byte(line.Paper() + "\n"), Diagnostics: []byte("==> Worker.log <==\na worker spoke\n"),
	}
	var out bytes.Buffer
	WriteRecord(&out, &record, "runnerctl logs --source diagnostics ci-7k2p", ui.NewTheme("never", false, os.Getenv))
	const want = `ci-7k2p
  fleet        ci
  state        gone
  cause        it ended: killed
  created      2026-01-02T03:04:05Z
  started      2026-01-02T03:04:05Z
  end          2026-01-02T03:05:05Z, exit code 137: killed by the kernel: out of memory
  job          build
  conclusion   –
  page         https://github.com/acme/api/actions/runs/4711/attempts/1
  cache        hits: 2, misses: 1, restored: 320MiB, saved: 0B, images: 0B
  image        runnerctl/runner:4f2a91c
  image id     sha256:aa
  spec         bb
  diagnostics  34B: runnerctl logs --source diagnostics ci-7k2p
last words
  agent        Killed 
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

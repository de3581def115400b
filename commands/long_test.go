//go:build long

package commands

import (
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/internal/config"
)

// The long tests run all cases of each kind (see short_test.go).
const (
	thorough      = true
	killings      = 20
	manyJobs      = 40
	wholeWithin   = 1500 * time.Millisecond
	wholeAfterAll = 10 * time.Second
)

func TestTwentyRunners(t *testing.T) {
	api := realEngine(t)
	name := newFleet(t, api)
	networks := networkNames(t, api)
	must(t, up(name, "--count", "20")...)
	runners := list(t, name)
	if len(runners) != 20 {
		t.Errorf("%d runners, want 20", len(runners))
	}
	must(t, "down", "--fleet", name)
	if left := leftovers(t, api, name); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if left := processesOf(t, ids(runners)); len(left) > 0 {
		t.Errorf("processes left behind: %v", left)
	}
	if after := networkNames(t, api); after != networks {
		t.Errorf("networks before: %s, after: %s, want the same", networks, after)
	}
}

func networkNames(t *testing.T, api *client.Client) string {
	t.Helper()
	list, err := api.NetworkList(t.Context(), network.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, one := range list {
		names = append(names, one.Name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func drain(t *testing.T, stream io.ReadCloser) {
	t.Helper()
	defer func() { _ = stream.Close() }()
	if _, err := io.Copy(io.Discard, stream); err != nil {
		t.Fatal(err)
	}
}

// Debian 12's own packages have Docker 20.10 and no compose v2.
func TestBaseWithOldDocker(t *testing.T) {
	api := realEngine(t)
	runnerImage(t)
	const base = "runnerctl-test/bookworm:base"
	make := exec.Command("mmdebstrap", "--quiet", "--variant=minbase", "--include=ca-certificates", "bookworm", "base.tar")
	if out, err := make.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	file, err := os.Open("base.tar")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	stream, err := api.ImageImport(t.Context(), image.ImportSource{Source: file, SourceName: "-"}, base, image.ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	drain(t, stream)
	t.Cleanup(func() { removeImage(t, api, base) })
	if err := os.WriteFile(config.DefaultFile, []byte("image:\n  base: "+base+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := runnerctl(t.Context(), "build", "--progress", "quiet")
	if code != exitFailure || !strings.Contains(stderr, "Debian GNU/Linux 12 (bookworm): Docker 20 is too old, 24 or newer is needed") {
		t.Errorf("exit code %d, want %d; stderr:\n%s\nwant %q", code, exitFailure, stderr, "Debian GNU/Linux 12 (bookworm): Docker 20 is too old, 24 or newer is needed")
	}
}

package view

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/internal/fleet"
)

func TestWriteRunners(t *testing.T) {
	of := fleet.Agent{Mode: fleet.JIT, URL: "https://github.com/acme", Ephemeral: true}
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	runner := func(name string, state fleet.State, listing *fleet.Listing) fleet.Runner {
		return fleet.Runner{Name: name, Fleet: "ci", State: state, Ready: state == fleet.Running, DockerVersion: "26.1.5", Created: now.Add(-4 * time.Minute), CPUs: 2, Memory: 4 << 30, DiskFree: 1 << 30, Agent: of, Listing: listing, Busy: state == fleet.Running && listing != nil && listing.Busy}
	}
	runners := []fleet.Runner{
		runner("ci-7k2p", fleet.Running, &fleet.Listing{State: fleet.Online, ID: 1}),
		runner("ci-9xqd", fleet.Running, &fleet.Listing{State: fleet.Online, Busy: true, ID: 2, JobURL: "https://github.com/acme/api/actions/runs/3/job/4"}),
		runner("ci-m3ta", fleet.Running, &fleet.Listing{State: fleet.NotListed}),
		runner("ci-p4vb", fleet.Running, &fleet.Listing{State: fleet.Offline, ID: 3}),
		runner("ci-q5wc", fleet.Exited, &fleet.Listing{State: fleet.NotListed}),
		runner("ci-r6xd", fleet.Exited, &fleet.Listing{State: fleet.Offline, Busy: true, ID: 4}),
		runner("ci-s7ye", fleet.Running, nil),
		runner("ci-u9ab", fleet.Running, &fleet.Listing{State: fleet.NotAsked}),
		{Name: "ci-t8zf", Fleet: "ci", State: fleet.Running, Created: now, CPUs: 2, Memory: 4 << 30},
	}
	var out strings.Builder
	WriteRunners(&out, runners, false, now)
	want := `NAME     FLEET  STATE         DOCKER  GITHUB           UP    CPUS  MEMORY  JOB
ci-7k2p  ci     ready         26.1.5  online           4m    2     4GiB    –
ci-9xqd  ci     busy          26.1.5  busy             4m    2     4GiB    acme/api/actions/runs/3/job/4
ci-m3ta  ci     ready         26.1.5  not listed ⚠     4m    2     4GiB    –
ci-p4vb  ci     ready         26.1.5  offline ⚠        4m    2     4GiB    –
ci-q5wc  ci     exited: done  –       not listed       4m    2     4GiB    –
ci-r6xd  ci     exited: done  –       offline, busy ⚠  4m    2     4GiB    –
ci-s7ye  ci     ready         26.1.5  ?                4m    2     4GiB    –
ci-u9ab  ci     ready         26.1.5  not asked        4m    2     4GiB    –
ci-t8zf  ci     starting      –       –                0.0s  2     4GiB    –
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	out.Reset()
	runners[1].Cache = &fleet.CacheUse{Hits: 3, Misses: 1}
	WriteRunners(&out, runners[:2], false, now)
	want = `NAME     FLEET  STATE  DOCKER  GITHUB  UP  CPUS  MEMORY  CACHE HITS  JOB
ci-7k2p  ci     ready  26.1.5  online  4m  2     4GiB    –           –
ci-9xqd  ci     busy   26.1.5  busy    4m  2     4GiB    3 of 4      acme/api/actions/runs/3/job/4
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	text, err := json.Marshal(runners[1])
	if err != nil || !strings.Contains(string(text), `"github":{"state":"online","busy":true,"id":2,"job_url":"https://github.com/acme/api/actions/runs/3/job/4"}`) {
		t.Errorf("got %s, %v, want the state, id and page of ci-9xqd's job under github", text, err)
	}
	if text, _ = json.Marshal(runners[8]); strings.Contains(string(text), "github") {
		t.Errorf("got %s, want no github", text)
	}
}

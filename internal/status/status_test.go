package status

import (
	"strings"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/ghapi"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/ghsim"
	"github.com/runnerctl/runnerctl/internal/hint"
	"github.com/runnerctl/runnerctl/internal/secret"
)

// A token that may register runners may lack the right to read runs: the rest of the view
// stays.
func TestJobsThatMayNotBeRead(t *testing.T) {
	github, err := ghsim.Start(ghsim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(github.Close)
	github.Inject(ghsim.Fault{Match: "GET /repos/acme/api/actions/runs", Status: 403})
	target, err := ghapi.ParseTarget(github.URL + "/acme/api")
	if err != nil {
		t.Fatal(err)
	}
	client, err := ghapi.New(target, ghapi.Auth{Token: secret.New(github.ClassicToken(time.Hour, "repo"))}, ghapi.Options{CAs: github.CA()})
	if err != nil {
		t.Fatal(err)
	}
	address := client.Target().URL()
	busy := fleet.Runner{Name: "ci-a", Agent: fleet.Agent{Mode: fleet.JIT, URL: address}, Listing: &fleet.Listing{State: fleet.Online, Busy: true}}
	err = addJobs(t.Context(), fleet.Targets{address: ghapi.NewFleetClient(client, "", 1, "x86_64")}, []fleet.Runner{busy})
	if err == nil || !strings.Contains(hint.Line(err), "GET /repos/acme/api/actions/runs: GitHub answered 403") || !strings.Contains(hint.Line(err), "Actions (read)") || busy.Listing.State != fleet.Online {
		t.Errorf("error %v, state %s, want the call, 403, the permission Actions (read), and the state %s", err, busy.Listing.State, fleet.Online)
	}
}

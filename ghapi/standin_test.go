package ghapi_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/ghapi"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/ghsim"
	"github.com/runnerctl/runnerctl/internal/secret"
)

func standIn(t *testing.T, target string) (*ghsim.Server, *ghapi.Client) {
	t.Helper()
	github, err := ghsim.Start(ghsim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(github.Close)
	parsed, err := ghapi.ParseTarget(github.URL + "/" + target)
	if err != nil {
		t.Fatal(err)
	}
	client, err := ghapi.New(parsed, ghapi.Auth{Token: secret.New(github.ClassicToken(time.Hour, "repo", "admin:org", "manage_runners:enterprise"))}, ghapi.Options{CAs: github.CA()})
	if err != nil {
		t.Fatal(err)
	}
	return github, client
}

// A hundred registrations at 200 ms each, ten side by side as up makes them, with a
// fault of each kind in their midst: a hundred are there, none twice, within
// GitHub's budget.
func TestHundredRegistrations(t *testing.T) {
	github, client := standIn(t, "acme")
	const mint = "POST /orgs/acme/actions/runners/generate-jitconfig"
	for _, fault := range []ghsim.Fault{
		{Match: mint, Skip: 20, Times: 1, Drop: ghsim.DropAfter}, {Match: mint, Skip: 30, Times: 1, Drop: ghsim.DropBefore}, {Match: mint, Skip: 40, Times: 1, Status: 500},
		ghsim.BadGateway(mint, 1), ghsim.SecondaryLimit(mint, 1, time.Second), {Match: mint, Latency: 200 * time.Millisecond},
	} {
		github.Inject(fault)
	}
	slots := make(chan struct{}, 10)
	var group sync.WaitGroup
	for i := range 100 {
		group.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if _, jit, err := client.GenerateJIT(t.Context(), fmt.Sprintf("ci-%d", i), 1, []string{"self-hosted"}, "_work"); err != nil || jit.Empty() {
				t.Errorf("empty configuration: %t, error %v, want neither", jit.Empty(), err)
			}
		})
	}
	group.Wait()
	failed, mints, together := map[int]int{}, 0, 0
	requests := github.Requests()
	for _, one := range requests {
		if one.Method != "POST" {
			continue
		}
		mints++
		failed[one.Status]++
		meanwhile := 0
		for _, other := range requests {
			if other.Method == "POST" && !other.At.After(one.At) && other.At.Add(other.Duration).After(one.At) {
				meanwhile++
			}
		}
		together = max(together, meanwhile)
	}
	if failed[0] != 2 || failed[500] != 1 || failed[502] != 1 || failed[403] != 1 || failed[409] != 1 || failed[201] != 100 {
		t.Errorf("%d mints, answered %v, want 2 dropped, 1 each of 500, 502, 403 and 409, and 100 of 201", mints, failed)
	}
	if together < 8 {
		t.Errorf("at most %d mints at once, want 8 at least", together)
	}
	names := map[string]bool{}
	for _, one := range github.Runners() {
		names[one.Name] = true
	}
	if all, err := client.Runners(t.Context()); err != nil || len(all) != 100 || len(names) != 100 {
		t.Errorf("%d listed, %d names: %v, want 100", len(all), len(names), err)
	}
}

// A token that expires in the midst ends in an error that says so, at once.
func TestTokenThatExpires(t *testing.T) {
	github, client := standIn(t, "acme")
	fleetClient := ghapi.NewFleetClient(client, fleet.Marker("ci", "x"), 1, "x86_64")
	agent := fleet.Agent{Mode: fleet.JIT, Labels: []string{fleet.Marker("ci", "x")}}
	if _, err := fleetClient.Register(t.Context(), "ci-a", agent); err != nil {
		t.Fatal(err)
	}
	github.SetClockOffset(2 * time.Hour)
	bounded, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err := fleetClient.Register(bounded, "ci-b", agent)
	if !ghapi.HasStatus(err, 401) || !strings.Contains(err.Error(), "Bad credentials") {
		t.Errorf("error %v, want status 401 with %q", err, "Bad credentials")
	}
	if asked := github.Requests(); slices.ContainsFunc(asked, func(one ghsim.Request) bool { return one.Method == "DELETE" }) || len(github.Runners()) != 1 {
		t.Errorf("asked %+v, want no DELETE, and one runner", asked)
	}
}

// Ctrl-C while GitHub is at a registration: its answer is waited for, and it is removed.
func TestInterruptedMintIsUndone(t *testing.T) {
	github, client := standIn(t, "acme")
	const mint = "/orgs/acme/actions/runners/generate-jitconfig"
	github.Inject(ghsim.Fault{Match: "POST " + mint, Latency: time.Second})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(200*time.Millisecond, cancel)
	if _, _, err := client.GenerateJIT(ctx, "ci-a", 1, []string{"self-hosted"}, "_work"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
	var answers []string
	for _, one := range github.Requests() {
		answers = append(answers, fmt.Sprint(one.Method, " ", one.Status))
	}
	if want := []string{"POST 201", "DELETE 204"}; !slices.Equal(answers, want) || len(github.Runners()) > 0 {
		t.Errorf("got %v, want %v; registered: %+v, want none", answers, want, github.Runners())
	}
}

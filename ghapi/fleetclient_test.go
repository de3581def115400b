package ghapi

import (
	"errors"
	"slices"
	"testing"

	"github.com/runnerctl/runnerctl/internal/fleet"
)

func TestFleetClient(t *testing.T) {
	f := newFake(t, "repos/acme/api")
	client, _ := f.client(t, withGoodToken())
	marker := fleet.Marker("ci", "engine-1")
	fleetClient := NewFleetClient(client, marker, 1, "aarch64")
	f.add("ci-aaaa", fleet.Marker("ci", "engine-2"))
	f.add("ci-bbbb")

	credential, err := fleetClient.Register(t.Context(), "ci-cccc", fleet.Agent{Mode: fleet.JIT, Labels: []string{"gpu", marker}})
	if err != nil || credential.Reveal() != "jit-of-ci-cccc-3" {
		t.Fatalf("got %q, %v, want %q", credential.Reveal(), err, "jit-of-ci-cccc-3")
	}
	var labels []string
	for _, one := range f.runners[2].Labels {
		labels = append(labels, one.Name)
	}
	if want := []string{"self-hosted", "Linux", "ARM64", "gpu", marker}; !slices.Equal(labels, want) {
		t.Errorf("labels %v, want %v", labels, want)
	}
	all, err := fleetClient.Registrations(t.Context())
	want := fleet.Registration{URL: f.target(t).URL(), ID: 3, Name: "ci-cccc"}
	if err != nil || len(all) != 1 || all[0] != want {
		t.Errorf("got %+v, %v, want %+v alone", all, err, want)
	}
	for name, ours := range map[string]bool{"ci-aaaa": false, "ci-bbbb": false, "ci-cccc": true, "ci-dddd": false} {
		if found, err := fleetClient.Find(t.Context(), name); err != nil || (found != nil) != ours {
			t.Errorf("%s: %v %v, want found: %t", name, found, err, ours)
		}
	}
	f.runners[2].Busy = true
	var busy *fleet.BusyError
	if err := fleetClient.Unregister(t.Context(), want); !errors.As(err, &busy) || busy.Name != "ci-cccc" {
		t.Errorf("error %v, want %T of ci-cccc", err, busy)
	}
	f.runners[2].Busy = false
	if err := fleetClient.Unregister(t.Context(), want); err != nil || len(f.runners) != 2 {
		t.Errorf("error %v, %d runners, want none, 2", err, len(f.runners))
	}
	token, err := fleetClient.Register(t.Context(), "ci-dddd", fleet.Agent{Mode: fleet.Token})
	if err != nil || token.Reveal() != "made-registration-token" || len(f.runners) != 2 {
		t.Errorf("got %q, %v, %d runners, want %q, 2 runners", token.Reveal(), err, len(f.runners), "made-registration-token")
	}
}

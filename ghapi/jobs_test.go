package ghapi

import (
	"net/http"
	"testing"
	"time"
)

func TestQueued(t *testing.T) {
	f := newFake(t, "repos/acme/api")
	client, _ := f.client(t, withGoodToken())
	f.more["GET /repos/acme/api/actions/runs/4711/jobs"] = `{"total_count":3,"jobs":[
		{"id":1,"runner_name":"ci-aaaa","created_at":"2026-01-01T12:00:00Z","started_at":"2026-01-01T12:00:09Z"},
		{"id":2,"runner_name":"ci-bbbb","created_at":"2026-01-01T12:00:00Z","started_at":"2026-01-01T11:59:59Z"},
		{"id":3,"runner_name":null,"created_at":"2026-01-01T12:00:00Z","started_at":null}]}`
	for _, test := range []struct {
		url, runner string
		want        time.Duration
	}{
		{"https://github.com/acme/api/actions/runs/4711", "ci-aaaa", 9 * time.Second},
		{"https://github.com/acme/api/actions/runs/4711/job/1", "ci-aaaa", 9 * time.Second},
		{"https://github.com/acme/api/actions/runs/4711", "ci-bbbb", 0}, // started by another clock
		{"https://github.com/acme/api/actions/runs/4711", "ci-cccc", 0},
		{"https://github.com/acme/api/actions/runs/../4711", "ci-aaaa", 0},
	} {
		if got, err := client.Queued(t.Context(), test.url, test.runner); err != nil || got != test.want {
			t.Errorf("%s of %s: %s %v, want %s", test.runner, test.url, got, err, test.want)
		}
	}
	if _, err := client.Queued(t.Context(), "https://github.com/acme/api/actions/runs/1", "ci-aaaa"); !HasStatus(err, http.StatusNotFound) {
		t.Errorf("error %v, want status %d", err, http.StatusNotFound)
	}
	of, _ := newFake(t, "orgs/acme").client(t, withGoodToken())
	if got, err := of.Queued(t.Context(), "https://github.com/acme/api/actions/runs/4711", "ci-aaaa"); got != 0 || err != nil {
		t.Errorf("of an organization: %s %v, want 0", got, err)
	}
}

// roundTripper is one function.
type roundTripper func(*http.Request) (*http.Response, error)

func (r roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return r(request) }

func TestThrough(t *testing.T) {
	f := newFake(t, "repos/acme/api")
	seen := 0
	client, err := New(f.target(t), withGoodToken(), Options{CAs: f.certificate(), Through: func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(request *http.Request) (*http.Response, error) {
			seen++
			return next.RoundTrip(request)
		})
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Runners(t.Context()); err != nil || seen != 1 {
		t.Errorf("%d calls seen, %v, want 1", seen, err)
	}
}

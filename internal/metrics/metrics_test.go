package metrics

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/internal/fleet"
)

func get(t *testing.T, m *Metrics, path string) (int, string) {
	t.Helper()
	answer := httptest.NewRecorder()
	m.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
	return answer.Code, answer.Body.String()
}

func TestMetrics(t *testing.T) {
	m := New("ci")
	m.Reconciled(2*time.Millisecond, nil)
	m.Runners(map[fleet.Standing]int{fleet.StandingIdle: 3, fleet.StandingBusy: 1}, 4)
	m.Runners(map[fleet.Standing]int{fleet.StandingIdle: 2}, 4)
	m.Started(300*time.Millisecond, true)
	m.Started(2*time.Second, false)
	m.Ended(fleet.Record{Job: "build", Conclusion: "success", Finished: time.Now(), Queued: 3})
	m.Ended(fleet.Record{Job: "build", Conclusion: "forged\nword", Finished: time.Now(), ExitCode: 137})
	m.Ended(fleet.Record{Cause: "surplus"})
	m.SetCache(Cache{Hits: 5, ImageBytes: 9})
	m.SetCache(Cache{Hits: 7, ImageBytes: 11})

	code, text := get(t, m, "/metrics")
	if code != http.StatusOK {
		t.Fatal(code, text)
	}
	for _, line := range []string{
		`runnerctl_runners{fleet="ci",state="idle"} 2`,
		`runnerctl_runners{fleet="ci",state="busy"} 0`,
		`runnerctl_runners_wanted{fleet="ci"} 4`,
		`runnerctl_jobs_total{conclusion="success",fleet="ci"} 1`,
		`runnerctl_jobs_total{conclusion="unknown",fleet="ci"} 1`,
		`runnerctl_runner_exits_total{code="137",fleet="ci"} 1`,
		`runnerctl_runner_exits_total{code="0",fleet="ci"} 1`,
		`runnerctl_job_queue_seconds_sum{fleet="ci"} 3`,
		`runnerctl_runner_start_seconds_count{fleet="ci",from="spare"} 1`,
		`runnerctl_runner_start_seconds_sum{fleet="ci",from="nothing"} 2`,
		`runnerctl_reconcile_seconds_count{fleet="ci"} 1`,
		`runnerctl_reconcile_errors_total{fleet="ci"} 0`,
		`runnerctl_cache_hits_total{fleet="ci"} 7`,
		`runnerctl_cache_misses_total{fleet="ci"} 0`,
		`runnerctl_cache_image_bytes_total{fleet="ci"} 11`,
	} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("no %s in\n%s", line, text)
		}
	}
}

func TestCallsOfGitHub(t *testing.T) {
	m := New("ci")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-RateLimit-Remaining", "4711")
		w.WriteHeader(http.StatusForbidden)
	}))
	client := &http.Client{Transport: m.Transport(http.DefaultTransport)}
	for range 2 {
		response, err := client.Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
	}
	server.Close()
	if _, err := client.Get(server.URL); err == nil {
		t.Fatal("a closed server answers")
	}
	_, text := get(t, m, "/metrics")
	for _, line := range []string{
		`runnerctl_github_calls_total{fleet="ci",method="GET",status="403"} 2`,
		`runnerctl_github_calls_total{fleet="ci",method="GET",status="error"} 1`,
		`runnerctl_github_calls_left{fleet="ci"} 4711`,
	} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("no %s in\n%s", line, text)
		}
	}
}

func TestHealth(t *testing.T) {
	m := New("ci")
	if code, text := get(t, m, "/healthz"); code != http.StatusOK || text != "ok\n" {
		t.Error(code, text)
	}
	m.Reconciled(0, errors.New("connection refused"))
	if code, text := get(t, m, "/healthz"); code != http.StatusServiceUnavailable || !strings.Contains(text, "connection refused") {
		t.Error(code, text)
	}
	m.Reconciled(0, nil)
	if code, text := get(t, m, "/healthz"); code != http.StatusOK {
		t.Error(code, text)
	}
	if err := m.health(time.Now().Add(6 * time.Minute)); err == nil || err.Error() != "the last check of the fleet was 6m0s ago" {
		t.Error(err)
	}
}

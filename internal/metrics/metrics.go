// Package metrics has a supervisor's metrics for Prometheus, and reports whether the
// supervisor is healthy.
package metrics

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/runnerctl/runnerctl/internal/fleet"
)

// stale is how long a healthy supervisor may go without a look at its fleet.
const stale = 5 * time.Minute

// Metrics counts for one fleet's supervisor. It is a fleet.Meter.
type Metrics struct {
	registry  *prometheus.Registry
	runners   *prometheus.GaugeVec
	wanted    prometheus.Gauge
	jobs      *prometheus.CounterVec
	exits     *prometheus.CounterVec
	queued    prometheus.Histogram
	startUp   *prometheus.HistogramVec
	reconcile prometheus.Histogram
	failures  prometheus.Counter
	calls     *prometheus.CounterVec
	limit     prometheus.Gauge
	cache     atomic.Pointer[Cache]

	mu      sync.Mutex
	looked  time.Time // last successful look at the fleet; at first, the start of the supervisor
	failure error     // of the last look
}

var _ fleet.Meter = (*Metrics)(nil)

// New returns metrics that count from zero.
func New(fleetName string) *Metrics {
	registry := prometheus.NewRegistry()
	m := &Metrics{
		registry: registry,
		runners: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "runnerctl_runners", Help: "Runners by state: starting, idle, busy, offline, spare, going."}, []string{"state"}),
		wanted: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "runnerctl_runners_wanted", Help: "Desired number of online runners, without spares."}),
		jobs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "runnerctl_jobs_total", Help: "Jobs of ended runners, by conclusion; unknown if the agent did not report one."}, []string{"conclusion"}),
		exits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "runnerctl_runner_exits_total", Help: "Runners that ended by themselves, by exit code."}, []string{"code"}),
		queued: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "runnerctl_job_queue_seconds", Help: "Time from a job's creation to its start on a runner, for a sample of the jobs.",
			Buckets: []float64{1, 2, 5, 10, 20, 60, 120, 300, 900, 3600}}),
		startUp: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "runnerctl_runner_start_seconds", Help: "Time from the decision until GitHub lists the runner online, from nothing or from a spare.",
			Buckets: []float64{.2, .4, .7, 1, 1.5, 2, 3, 5, 10, 20, 60}}, []string{"from"}),
		reconcile: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "runnerctl_reconcile_seconds", Help: "Time of one check of the fleet, including the decision.",
			Buckets: []float64{.001, .003, .01, .03, .1, .3, 1, 3, 10}}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "runnerctl_reconcile_errors_total", Help: "Checks of the fleet that the engine did not answer."}),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "runnerctl_github_calls_total", Help: "Calls of GitHub's API, by method and status; the status is error if there was no response."}, []string{"method", "status"}),
		limit: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "runnerctl_github_calls_left", Help: "Calls left until GitHub's rate limit resets, as last reported."}),
		looked: time.Now(),
	}
	labelled := prometheus.WrapRegistererWith(prometheus.Labels{"fleet": fleetName}, registry)
	labelled.MustRegister(m.runners, m.wanted, m.jobs, m.exits, m.queued, m.startUp, m.reconcile, m.failures, m.calls, m.limit)
	labelled.MustRegister(m.ofCache()...)
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Reconciled implements fleet.Meter.
func (m *Metrics) Reconciled(took time.Duration, err error) {
	m.mu.Lock()
	if m.failure = err; err == nil {
		m.looked = time.Now()
	}
	m.mu.Unlock()
	m.reconcile.Observe(took.Seconds())
	if err != nil {
		m.failures.Inc()
	}
}

// Runners implements fleet.Meter.
func (m *Metrics) Runners(count map[fleet.Standing]int, wanted int) {
	for _, standing := range fleet.Standings {
		m.runners.WithLabelValues(string(standing)).Set(float64(count[standing]))
	}
	m.wanted.Set(float64(wanted))
}

// Started implements fleet.Meter.
func (m *Metrics) Started(took time.Duration, fromSpare bool) {
	from := "nothing"
	if fromSpare {
		from = "spare"
	}
	m.startUp.WithLabelValues(from).Observe(took.Seconds())
}

// Ended implements fleet.Meter.
func (m *Metrics) Ended(record fleet.Record) {
	if !record.Finished.IsZero() {
		m.exits.WithLabelValues(strconv.Itoa(record.ExitCode)).Inc()
	}
	if record.HadJob() {
		m.jobs.WithLabelValues(conclusion(record.Conclusion)).Inc()
	}
	if record.Queued > 0 {
		m.queued.Observe(record.Queued)
	}
}

// Cache has the counts of a host's cache since its start, for all its fleets.
type Cache struct {
	Hits, Misses                int64 // of actions
	SavedBytes, RestoredBytes   int64 // by actions
	ImageBytes, DownloadedBytes int64 // sent by the mirror, and downloaded from registries
}

// SetCache sets the counts of the host's cache. They begin at 0 again when the cache is restarted.
func (m *Metrics) SetCache(count Cache) { m.cache.Store(&count) }

// ofCache returns the counters of the host's cache, which are 0 without one.
func (m *Metrics) ofCache() (all []prometheus.Collector) {
	for _, one := range []struct {
		name, help string
		of         func(Cache) int64
	}{
		{"hits", "Entries of the host's cache that actions restored, of all fleets, since the cache's start.", func(c Cache) int64 { return c.Hits }},
		{"misses", "Entries that actions did not find in the host's cache.", func(c Cache) int64 { return c.Misses }},
		{"saved_bytes", "Bytes that actions saved in the host's cache.", func(c Cache) int64 { return c.SavedBytes }},
		{"restored_bytes", "Bytes that actions restored from the host's cache.", func(c Cache) int64 { return c.RestoredBytes }},
		{"image_bytes", "Bytes of images that the host's cache sent to runners.", func(c Cache) int64 { return c.ImageBytes }},
		{"downloaded_bytes", "Bytes of images that the host's cache downloaded from registries.", func(c Cache) int64 { return c.DownloadedBytes }},
	} {
		all = append(all, prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "runnerctl_cache_" + one.name + "_total", Help: one.help}, func() float64 {
			if count := m.cache.Load(); count != nil {
				return float64(one.of(*count))
			}
			return 0
		}))
	}
	return all
}

// conclusion returns the known words as they are, and "unknown" for all others.
func conclusion(word string) string {
	switch word {
	case "success", "failure", "cancelled", "skipped":
		return word
	}
	return "unknown"
}

// Transport returns a transport that counts the calls through it.
func (m *Metrics) Transport(next http.RoundTripper) http.RoundTripper {
	return counting{m, next}
}

type counting struct {
	*Metrics
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (c counting) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := c.next.RoundTrip(request)
	if err != nil {
		c.calls.WithLabelValues(request.Method, "error").Inc()
		return response, err
	}
	c.calls.WithLabelValues(request.Method, strconv.Itoa(response.StatusCode)).Inc()
	if left, err := strconv.Atoi(response.Header.Get("X-RateLimit-Remaining")); err == nil {
		c.limit.Set(float64(left))
	}
	return response, nil
}

// Handler serves /metrics and /healthz. /healthz answers 503 with the reason if the last look
// at the fleet failed or was long ago.
func (m *Metrics) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if err := m.health(time.Now()); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	return mux
}

func (m *Metrics) health(now time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.failure != nil:
		return fmt.Errorf("the last check of the fleet failed: %w", m.failure)
	case now.Sub(m.looked) > stale:
		return fmt.Errorf("the last check of the fleet was %s ago", now.Sub(m.looked).Round(time.Second))
	}
	return nil
}

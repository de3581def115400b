package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/runnerctl/runnerctl/internal/golden"
	runtime "github.com/runnerctl/runnerctl/internal/machine"
)

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		samples []float64
		want    float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 4}, 4}, {[]float64{4, 1, 2, 9}, 3}} {
		before := slices.Clone(test.samples)
		if got := median(test.samples); got != test.want {
			t.Errorf("median of %v: %g, want %g", test.samples, got, test.want)
		}
		if !slices.Equal(before, test.samples) {
			t.Errorf("the samples' order changed: %v", test.samples)
		}
	}
}

// sample returns results that meet every limit, some only just.
func sample() *Results {
	r := &Results{
		Schema: 1, Date: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Machine: Machine{Kernel: "6.12.0", System: "Debian <13>", Engine: "26.1.5", Inner: "26.1.5", Storage: "overlay2", Cgroup: "2", Cores: 2, Memory: 8 << 30, Version: "v1", Busy: 0.02},
	}
	for _, one := range []struct {
		measure, side, unit string
		samples             []float64
	}{
		{start1, runner, "s", []float64{0.9, 1.2, 0.8}},
		{start1, onDemand, "s", []float64{0.375, 0.3, 0.4}},
		{start1, stock, "s", []float64{1.5, 1.4, 1.9}},
		{start20, runner, "s", []float64{8.5, 8.4, 12}},
		{start20, onDemand, "s", []float64{4.5}},
		{start20, stock, "s", []float64{10, 9.5, 11}},
		{firstDocker, onDemand, "ms", []float64{350, 800, 400}},
		{dockerRun, host, "ms", []float64{300, 310, 290}},
		{dockerRun, runner, "ms", []float64{400, 410, 390}},
		{dockerBuild, host, "ms", []float64{2000}},
		{dockerBuild, runner, "ms", []float64{2500}},
		{execTrue, runner, "ms", []float64{150}},
		{execTrue, host, "ms", []float64{100}},
		{netUp, runner, "Gbit/s", []float64{2, 1.9, 2.1}},
		{netUp, stock, "Gbit/s", []float64{0.3, 0.4, 0.25}},
		{netUp, runnerUser, "Gbit/s", []float64{1.8, 1.6, 1.9}},
		{netUp, pasta, "Gbit/s", []float64{0.1}},
		{netDown, runner, "Gbit/s", []float64{3, 2.5, 3.1}},
		{netDown, stock, "Gbit/s", []float64{2, 1.9, 2.1}},
		{netDown, runnerUser, "Gbit/s", []float64{3.2}},
		{netDown, pasta, "Gbit/s", []float64{6}},
		{idle, runner, "MiB", []float64{51.5, 52}},
		{idle, onDemand, "MiB", []float64{8}},
		{idle, stock, "MiB", []float64{54}},
		{idleStats, runner, "MiB", []float64{44}},
		{idleCPU, onDemand, "ms/s", []float64{1, 0.5, 2}},
	} {
		for _, value := range one.samples {
			r.Add(one.measure, one.side, one.unit, value)
		}
	}
	return r
}

func replace(r *Results, measure, side string, samples ...float64) {
	for i := range r.Series {
		if s := &r.Series[i]; s.Measure == measure && s.Side == side {
			s.Samples = samples
			s.summarize()
		}
	}
}

func TestJudge(t *testing.T) {
	r := sample()
	if err := r.Judge(); err != nil {
		t.Fatal(err)
	}
	if code := tell(r, t.Logf); code != 0 || len(r.Missed) > 0 || len(r.Limits) != len(limits) {
		t.Errorf("missed %v of %d limits", r.Missed, len(r.Limits))
	}
	if r.StartRatio1 != 0.6 || r.StartRatio20 != 0.85 || r.NetUpRatio != 6.667 || r.NetUserNetworkRatio != 0.9 || r.NetUpWorstRatio != 6.333 || r.IdleMiB != 51.75 || r.DockerRunMs != 400 ||
		r.ReadyRatio1 != 0.25 || r.FirstDockerMs != 400 || r.FirstDockerP95Ms != 800 || r.ExecRatio != 1.5 {
		t.Errorf("figures %+v", r.Figures)
	}
}

// Each limit is missed when just its own figure gets worse.
func TestEachLimitCanBeMissed(t *testing.T) {
	for key, spoil := range map[string]func(*Results){
		"start_ratio_1":              func(r *Results) { replace(r, start1, runner, 0.91) },
		"start_ratio_20":             func(r *Results) { replace(r, start20, runner, 8.6) },
		"ready_ratio_1":              func(r *Results) { replace(r, start1, onDemand, 0.377) },
		"ready_ratio_20":             func(r *Results) { replace(r, start20, onDemand, 4.51) },
		"first_docker_ms":            func(r *Results) { replace(r, firstDocker, onDemand, 401) },
		"first_docker_p95_ms":        func(r *Results) { replace(r, firstDocker, onDemand, 300, 300, 801) },
		"first_docker_host_ratio":    func(r *Results) { replace(r, dockerRun, host, 280); replace(r, dockerRun, runner, 400) },
		"net_up_ratio":               func(r *Results) { replace(r, netUp, stock, 0.6) },
		"net_down_ratio":             func(r *Results) { replace(r, netDown, stock, 3.1) },
		"net_up_worst_ratio":         func(r *Results) { replace(r, netUp, runner, 0.1, 2, 2) },
		"net_down_worst_ratio":       func(r *Results) { replace(r, netDown, runner, 0.9, 3, 3) },
		"net_user_network_ratio":     func(r *Results) { replace(r, netDown, runnerUser, 2.3) },
		"idle_mib_per_runner":        func(r *Results) { replace(r, idle, runner, 60.1) },
		"idle_ondemand_mib":          func(r *Results) { replace(r, idle, onDemand, 8.1) },
		"idle_ondemand_cpu_ms_per_s": func(r *Results) { replace(r, idleCPU, onDemand, 1.1) },
		"docker_run_host_ratio":      func(r *Results) { replace(r, dockerRun, runner, 451) },
		"exec_ratio":                 func(r *Results) { replace(r, execTrue, runner, 151) },
	} {
		r := sample()
		spoil(r)
		if err := r.Judge(); err != nil {
			t.Errorf("%s: %v", key, err)
		}
		if !slices.Equal(r.Missed, []string{key}) {
			t.Errorf("%s: missed %v", key, r.Missed)
		}
		var said strings.Builder
		code := tell(r, func(format string, args ...any) { fmt.Fprintf(&said, format+"\n", args...) })
		if code != 1 || !strings.Contains(said.String(), "\nMISSED "+key) && !strings.HasPrefix(said.String(), "MISSED "+key) || !strings.HasSuffix(said.String(), "limits missed: "+key+"\n") {
			t.Errorf("%s: code %d: %s", key, code, &said)
		}
	}
}

func TestJudgeWithoutSamples(t *testing.T) {
	r := sample()
	replace(r, netUp, stock, 0)
	if err := r.Judge(); err == nil || !strings.Contains(err.Error(), "net_up, stock") {
		t.Errorf("stock's upload was 0: %v", err)
	}
	partial := &Results{Series: sample().Series[:3]} // of the start of one
	if err := partial.Judge(); err != nil {
		t.Fatal(err)
	}
	for _, verdict := range partial.Limits {
		if measured := verdict.Key == "start_ratio_1" || verdict.Key == "ready_ratio_1"; verdict.Unmeasured == measured || verdict.Pass != measured {
			t.Errorf("only the start of one has samples: %+v", verdict)
		}
	}
	if _, err := partial.files(); err != nil || len(partial.Missed) > 0 {
		t.Errorf("missed %v, %v", partial.Missed, err)
	}
	if code := tell(partial, t.Logf); code != 0 {
		t.Errorf("code %d", code)
	}
}

func TestPercentile(t *testing.T) {
	var twenty []float64
	for i := range 20 {
		twenty = append(twenty, float64(20-i))
	}
	for _, test := range []struct {
		samples []float64
		want    float64
	}{{[]float64{3}, 3}, {[]float64{9, 1, 4}, 9}, {twenty, 19}} {
		if got := percentile(test.samples, 95); got != test.want {
			t.Errorf("%v: %g, want %g", test.samples, got, test.want)
		}
	}
	if got := percentile(nil, 95); !math.IsNaN(got) {
		t.Errorf("no samples: %g", got)
	}
}

// The runner whose daemon starts on demand differs from the other one in that setting only.
func TestOnDemand(t *testing.T) {
	ours := contender{name: runner, ready: askDocker, config: container.Config{
		Env: []string{"https_proxy=http://proxy", runtime.EnvSettings + `={"docker":{"bip":"10.1.0.1/17"},"shm":1024}`},
	}}
	before := slices.Clone(ours.config.Env)
	got, err := ours.onDemand()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{before[0], runtime.EnvSettings + `={"docker":{"bip":"10.1.0.1/17","onDemand":true},"shm":1024}`}
	if !slices.Equal(got.config.Env, want) || got.name != onDemand || got.ready != askMachine {
		t.Errorf("got %+v", got)
	}
	if !slices.Equal(ours.config.Env, before) {
		t.Errorf("the other one changed: %q", ours.config.Env)
	}
	if _, err := (contender{}).onDemand(); err == nil {
		t.Error("no settings, and no error")
	}
}

// Checks the format of results.json, and the report and charts made from it.
func TestGolden(t *testing.T) {
	r := sample()
	replace(r, idle, runner, 62)
	r.Quick, r.Machine.Busy = true, 0.3
	if err := r.Judge(); err != nil {
		t.Fatal(err)
	}
	files, err := r.files()
	if err != nil {
		t.Fatal(err)
	}
	for path, got := range files {
		golden.Check(t, filepath.Join("testdata", filepath.Base(path)), got)
		if strings.HasSuffix(path, ".svg") {
			wellFormed(t, path, got)
		}
	}
	var again Results
	if err := json.Unmarshal(files[resultsFile], &again); err != nil {
		t.Fatal(err)
	}
	if text, err := again.JSON(); err != nil || !bytes.Equal(text, files[resultsFile]) {
		t.Errorf("results.json changes when read and written (%v)", err)
	}
}

func wellFormed(t *testing.T, path string, text []byte) {
	t.Helper()
	for decoder := xml.NewDecoder(bytes.NewReader(text)); ; {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
}

// The report in docs/bench must show the figures of bench/results.json.
func TestReportIsOfTheResults(t *testing.T) {
	t.Chdir("..")
	text, err := os.ReadFile(resultsFile)
	if err != nil {
		t.Fatal(err)
	}
	var results Results
	if err := json.Unmarshal(text, &results); err != nil {
		t.Fatal(err)
	}
	if err := results.Judge(); err != nil {
		t.Fatal(err)
	}
	files, err := results.files()
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range files {
		golden.Check(t, path, want)
	}
}

func TestParseIperf(t *testing.T) {
	gbits, retries, err := parseIperf([]byte(`{"start":{},"end":{"sum_sent":{"bits_per_second":2.2e9,"retransmits":7},"sum_received":{"bits_per_second":2.1e9}}}`))
	if err != nil || gbits != 2.1 || retries != 7 {
		t.Errorf("%g Gbit/s, %g retransmits, %v", gbits, retries, err)
	}
	for _, text := range []string{`{"error":"unable to connect to server"}`, "", "iperf3: error"} {
		if _, _, err := parseIperf([]byte(text)); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}

func TestBusyShare(t *testing.T) {
	share, err := busyShare("cpu  100 0 100 700 100 0 0 0 50 0\ncpu  150 0 150 1000 100 0 0 0 90 0\n")
	if err != nil || share != 0.25 {
		t.Errorf("%g, %v", share, err)
	}
	for _, text := range []string{"", "cpu 1 2 3", "cpu 1 2\ncpu 1 2", "cpu a b\ncpu 1 2"} {
		if _, err := busyShare(text); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}

func TestAvailableMemory(t *testing.T) {
	const meminfo = "MemTotal: 4096 kB\nMemAvailable:   2048 kB\n"
	const zoneinfo = `Node 0, zone    DMA32
  pages free     100
        protection: (0, 0)
  pagesets
    cpu: 0
              count:    128
              high:     1595
  vm stats threshold: 24
    cpu: 1
              count:    64
  vm stats threshold: 24
  node_unreclaimable:  0
Node 0, zone   Normal
  pagesets
    cpu: 0
              count:    64
`
	for text, want := range map[string]float64{meminfo + zoneinfo: 3, meminfo: 2} {
		if got, err := availableMiB(text, 4096); err != nil || got != want {
			t.Errorf("%g MiB, %v, want %g", got, err, want)
		}
	}
	for _, text := range []string{"", zoneinfo, "MemAvailable: much kB\n", meminfo + "pagesets\n count: x\n"} {
		if _, err := availableMiB(text, 4096); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}

func TestNumber(t *testing.T) {
	for value, want := range map[float64]string{0.6: "0.60", 9.999: "10.00", 51.75: "51.8", 1234.5: "1234", 0: "0.00"} {
		if got := number(value); got != want {
			t.Errorf("%g: %s, want %s", value, got, want)
		}
	}
}

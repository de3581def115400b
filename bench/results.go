package main

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"
)

// Results is the content of bench/results.json: the figures first, and the samples that they
// come from last.
type Results struct {
	Schema int       `json:"schema"`
	Date   time.Time `json:"date"`
	Quick  bool      `json:"quick"` // fewer and shorter samples
	Figures
	Missed  []string  `json:"missed"` // keys of missed limits
	Limits  []Verdict `json:"limits"`
	Machine Machine   `json:"machine"`
	Series  []Series  `json:"series"`
}

// Machine describes the machine that was measured.
type Machine struct {
	Kernel  string  `json:"kernel"`
	System  string  `json:"system"`
	Engine  string  `json:"engine"`
	Inner   string  `json:"inner_engine"`
	Storage string  `json:"storage"`
	Cgroup  string  `json:"cgroup"`
	Cores   int     `json:"cores"`
	Memory  int64   `json:"memory"` // bytes
	Version string  `json:"runnerctl"`
	Busy    float64 `json:"busy"` // share of processor time that other programs used at the start
}

// Sides of a measurement.
const (
	runner     = "runner"           // a runner with its default settings
	onDemand   = "runner-on-demand" // a runner whose daemon starts on demand
	runnerUser = "runner-user"      // the same, on a user-defined inner network
	pasta      = "runner-pasta"
	stock      = "stock"
	host       = "host" // the machine's own engine
)

// Measurements. Most have a series for two or more sides.
const (
	start1        = "start_1"         // seconds until one daemon answers; on demand: until jobs may begin
	start1Engine  = "start_1_engine"  // part of start_1 spent in the engine's create and start calls
	start1CPU     = "start_1_cpu"     // processor seconds used by the container
	start20       = "start_20"        // the same for the last of twenty
	start20Engine = "start_20_engine" // part of start_20 until the last start call returned
	start20CPU    = "start_20_cpu"
	netUp         = "net_up" // Gbit/s
	netDown       = "net_down"
	netUpRetries  = "net_up_retransmits"
	idle          = "idle"         // MiB of the machine's memory
	idleStats     = "idle_stats"   // MiB by docker stats
	idleCPU       = "idle_cpu"     // ms of processor time per second
	firstDocker   = "first_docker" // ms of the first command that uses the daemon
	dockerRun     = "docker_run"   // ms
	dockerBuild   = "docker_build"
	execTrue      = "exec" // ms of runnerctl exec; on the host: of docker exec
)

// Series holds the raw samples of one side of one measurement.
type Series struct {
	Measure string    `json:"measure"`
	Side    string    `json:"side"`
	Unit    string    `json:"unit"`
	Samples []float64 `json:"samples"`
	Median  float64   `json:"median"`
	Min     float64   `json:"min"`
	Max     float64   `json:"max"`
}

// Figures are the values that the limits apply to, and related ones. A figure that was not
// measured is 0.
type Figures struct {
	StartRatio1         float64 `json:"start_ratio_1"`
	StartRatio20        float64 `json:"start_ratio_20"`
	ReadyRatio1         float64 `json:"ready_ratio_1,omitempty"`
	ReadyRatio20        float64 `json:"ready_ratio_20,omitempty"`
	FirstDockerMs       float64 `json:"first_docker_ms,omitempty"`
	FirstDockerP95Ms    float64 `json:"first_docker_p95_ms,omitempty"`
	FirstDockerHost     float64 `json:"first_docker_host_ratio,omitempty"` // : docker run of a trivial image on the host
	NetUpRatio          float64 `json:"net_up_ratio"`
	NetDownRatio        float64 `json:"net_down_ratio"`
	NetUpWorstRatio     float64 `json:"net_up_worst_ratio"`   // worst single run : stock's median
	NetDownWorstRatio   float64 `json:"net_down_worst_ratio"` // likewise
	NetUserNetworkRatio float64 `json:"net_user_network_ratio"`
	NetPastaUpRatio     float64 `json:"net_pasta_up_ratio"`
	NetPastaDownRatio   float64 `json:"net_pasta_down_ratio"`
	IdleMiB             float64 `json:"idle_mib_per_runner"`
	IdleStockMiB        float64 `json:"idle_stock_mib"`
	IdleStatsMiB        float64 `json:"idle_docker_stats_mib"`
	IdleOnDemandMiB     float64 `json:"idle_ondemand_mib,omitempty"`
	IdleOnDemandCPU     float64 `json:"idle_ondemand_cpu_ms_per_s,omitempty"`
	DockerRunMs         float64 `json:"docker_run_ms"`
	DockerRunHostRatio  float64 `json:"docker_run_host_ratio"`
	BuildRatio          float64 `json:"build_ratio"`
	ExecRatio           float64 `json:"exec_ratio,omitempty"`
}

// Verdict is one limit and whether it is met.
type Verdict struct {
	Key   string  `json:"key"`
	What  string  `json:"what"`
	Value float64 `json:"value"`
	Limit string  `json:"limit"`
	Pass  bool    `json:"pass"`

	Unmeasured bool `json:"unmeasured,omitempty"` // there are no samples
}

type limit struct {
	key, what string
	value     func(Figures) float64
	least     bool // bound is a minimum; otherwise a maximum
	bound     float64
}

var limits = []limit{
	{"start_ratio_1", "start to `/_ping`, one runner : stock", func(f Figures) float64 { return f.StartRatio1 }, false, 0.6},
	{"start_ratio_20", "start to `/_ping`, twenty at once : stock", func(f Figures) float64 { return f.StartRatio20 }, false, 0.85},
	{"ready_ratio_1", "start until jobs may begin, Docker on demand, one runner : stock", func(f Figures) float64 { return f.ReadyRatio1 }, false, 0.25},
	{"ready_ratio_20", "start until jobs may begin, Docker on demand, twenty at once : stock", func(f Figures) float64 { return f.ReadyRatio20 }, false, 0.45},
	{"first_docker_ms", "first `docker version` of a runner, Docker on demand, ms", func(f Figures) float64 { return f.FirstDockerMs }, false, 400},
	{"first_docker_p95_ms", "95th percentile of the same, ms", func(f Figures) float64 { return f.FirstDockerP95Ms }, false, 800},
	{"first_docker_host_ratio", "first `docker version` of a runner : `docker run` of a trivial image on the host", func(f Figures) float64 { return f.FirstDockerHost }, false, 1.4},
	{"net_up_ratio", "upload from the inner bridge : stock", func(f Figures) float64 { return f.NetUpRatio }, true, 3.5},
	{"net_down_ratio", "download to the inner bridge : stock", func(f Figures) float64 { return f.NetDownRatio }, true, 1},
	{"net_up_worst_ratio", "worst single upload : stock's median", func(f Figures) float64 { return f.NetUpWorstRatio }, true, 0.5},
	{"net_down_worst_ratio", "worst single download : stock's median", func(f Figures) float64 { return f.NetDownWorstRatio }, true, 0.5},
	{"net_user_network_ratio", "user-made inner network : default one, the worse direction", func(f Figures) float64 { return f.NetUserNetworkRatio }, true, 0.8},
	{"idle_mib_per_runner", "MiB of the machine's memory used by an idle runner", func(f Figures) float64 { return f.IdleMiB }, false, 60},
	{"idle_ondemand_mib", "MiB of the machine's memory used by an idle runner, Docker on demand", func(f Figures) float64 { return f.IdleOnDemandMiB }, false, 8},
	{"idle_ondemand_cpu_ms_per_s", "processor time of an idle runner, Docker on demand, ms per s", func(f Figures) float64 { return f.IdleOnDemandCPU }, false, 1},
	{"docker_run_host_ratio", "`docker run` of a trivial image : on the host", func(f Figures) float64 { return f.DockerRunHostRatio }, false, 1.5},
	{"exec_ratio", "`runnerctl exec` of `true` : `docker exec`", func(f Figures) float64 { return f.ExecRatio }, false, 1.5},
}

// Judge calculates the figures from the series and compares them with the limits. Until the end
// of the comparison, a figure without samples is not a number.
func (r *Results) Judge() error {
	var err error
	// A busy machine can make a small value negative.
	sampled := func(measure, side string) float64 {
		if series, found := r.find(measure, side); found {
			return series.Median
		}
		return math.NaN()
	}
	median := func(measure, side string) float64 {
		value := sampled(measure, side)
		if value <= 0 && err == nil {
			err = fmt.Errorf("no usable samples of %s, %s", measure, side)
		}
		return value
	}
	ratio := func(measure, side, other string) float64 { return median(measure, side) / median(measure, other) }
	worst := func(measure, side, other string) float64 {
		series, _ := r.find(measure, side)
		return series.Min / median(measure, other)
	}
	first, _ := r.find(firstDocker, onDemand)
	r.Figures = Figures{
		StartRatio1:         ratio(start1, runner, stock),
		StartRatio20:        ratio(start20, runner, stock),
		ReadyRatio1:         ratio(start1, onDemand, stock),
		ReadyRatio20:        ratio(start20, onDemand, stock),
		FirstDockerMs:       median(firstDocker, onDemand),
		FirstDockerP95Ms:    percentile(first.Samples, 95),
		FirstDockerHost:     median(firstDocker, onDemand) / median(dockerRun, host),
		NetUpRatio:          ratio(netUp, runner, stock),
		NetDownRatio:        ratio(netDown, runner, stock),
		NetUpWorstRatio:     worst(netUp, runner, stock),
		NetDownWorstRatio:   worst(netDown, runner, stock),
		NetUserNetworkRatio: min(ratio(netUp, runnerUser, runner), ratio(netDown, runnerUser, runner)),
		NetPastaUpRatio:     ratio(netUp, pasta, stock),
		NetPastaDownRatio:   ratio(netDown, pasta, stock),
		IdleMiB:             median(idle, runner),
		IdleStockMiB:        sampled(idle, stock),
		IdleStatsMiB:        median(idleStats, runner),
		IdleOnDemandMiB:     sampled(idle, onDemand),
		IdleOnDemandCPU:     sampled(idleCPU, onDemand),
		DockerRunMs:         median(dockerRun, runner),
		DockerRunHostRatio:  ratio(dockerRun, runner, host),
		BuildRatio:          ratio(dockerBuild, runner, host),
		ExecRatio:           ratio(execTrue, runner, host),
	}
	if err != nil {
		return err
	}
	for _, value := range r.values() {
		*value = round(*value)
	}
	r.Limits, r.Missed = nil, []string{}
	for _, one := range limits {
		value := one.value(r.Figures)
		verdict := Verdict{Key: one.key, What: one.what, Value: value, Limit: fmt.Sprintf("≤ %g", one.bound), Pass: value <= one.bound}
		if one.least {
			verdict.Limit, verdict.Pass = fmt.Sprintf("≥ %g", one.bound), value >= one.bound
		}
		if math.IsNaN(value) {
			verdict.Value, verdict.Unmeasured = 0, true
		} else if !verdict.Pass {
			r.Missed = append(r.Missed, one.key)
		}
		r.Limits = append(r.Limits, verdict)
	}
	for _, value := range r.values() {
		if math.IsNaN(*value) { // JSON has no such number
			*value = 0
		}
	}
	return nil
}

func (f *Figures) values() []*float64 {
	return []*float64{
		&f.StartRatio1, &f.StartRatio20, &f.ReadyRatio1, &f.ReadyRatio20, &f.FirstDockerMs, &f.FirstDockerP95Ms, &f.FirstDockerHost, &f.NetUpRatio, &f.NetDownRatio, &f.NetUpWorstRatio, &f.NetDownWorstRatio, &f.NetUserNetworkRatio,
		&f.NetPastaUpRatio, &f.NetPastaDownRatio, &f.IdleMiB, &f.IdleStockMiB, &f.IdleStatsMiB, &f.IdleOnDemandMiB, &f.IdleOnDemandCPU,
		&f.DockerRunMs, &f.DockerRunHostRatio, &f.BuildRatio, &f.ExecRatio,
	}
}

// round rounds to three decimals, the precision of the measurement.
func round(value float64) float64 { return math.Round(value*1000) / 1000 }

// Add appends a sample to its series.
func (r *Results) Add(measure, side, unit string, value float64) {
	for i := range r.Series {
		if s := &r.Series[i]; s.Measure == measure && s.Side == side {
			s.Samples = append(s.Samples, round(value))
			s.summarize()
			return
		}
	}
	one := Series{Measure: measure, Side: side, Unit: unit, Samples: []float64{round(value)}}
	one.summarize()
	r.Series = append(r.Series, one)
}

func (r *Results) find(measure, side string) (Series, bool) {
	for _, one := range r.Series {
		if one.Measure == measure && one.Side == side {
			return one, true
		}
	}
	return Series{}, false
}

func (s *Series) summarize() {
	s.Median, s.Min, s.Max = round(median(s.Samples)), slices.Min(s.Samples), slices.Max(s.Samples)
}

// median returns the median of samples; 0 if there are none.
func median(samples []float64) float64 {
	if len(samples) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(samples))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// percentile returns the least sample that is not below so many percent of all samples; it is not
// a number if there are none.
func percentile(samples []float64, percent int) float64 {
	if len(samples) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(samples))
	return sorted[(percent*len(sorted)+99)/100-1]
}

// JSON returns the content of bench/results.json.
func (r *Results) JSON() ([]byte, error) {
	text, err := json.MarshalIndent(r, "", "  ")
	return append(text, '\n'), err
}

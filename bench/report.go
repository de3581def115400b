package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"text/template"
)

const (
	resultsFile = "bench/results.json"
	reportDir   = "docs/bench"
)

var (
	//go:embed report.md.tmpl
	reportText string
	//go:embed chart.svg.tmpl
	chartText string
)

// chart is one SVG file with groups of horizontal bars. Each group has its own scale.
type chart struct {
	File, Title string
	Groups      []group
}

type group struct {
	Title, Unit string
	Better      string // which bars are better, shorter or longer
	Bars        []bar
}

type bar struct {
	Label            string
	Ours             bool
	Median, Min, Max float64
}

// sideNames maps sides to their names in the report, in the order of the bars.
var sideNames = []struct {
	side, name string
	ours       bool
}{
	{stock, "stock", false},
	{host, "the host's engine", false},
	{runner, "runner", true},
	{onDemand, "runner, Docker on demand", true},
	{runnerUser, "runner, user-made network", true},
	{pasta, "runner, driver pasta", true},
}

func (r *Results) charts() []chart {
	bars := func(measure string) (bars []bar) {
		for _, one := range sideNames {
			if series, found := r.find(measure, one.side); found {
				bars = append(bars, bar{Label: one.name, Ours: one.ours, Median: series.Median, Min: series.Min, Max: series.Max})
			}
		}
		return bars
	}
	const shorter, longer = "shorter is better", "longer is better"
	return []chart{
		{"start.svg", "Start until jobs may begin", []group{
			{"one", "s", shorter, bars(start1)},
			{"twenty at once, the last", "s", shorter, bars(start20)},
		}},
		{"network.svg", "Network between the inner and the outer bridge", []group{
			{"up", "Gbit/s", longer, bars(netUp)},
			{"down", "Gbit/s", longer, bars(netDown)},
		}},
		{"memory.svg", "Memory used by an idle runner or container", []group{
			{"difference of the available memory", "MiB", shorter, bars(idle)},
			{"docker stats", "MiB", shorter, bars(idleStats)},
		}},
		{"docker.svg", "Docker inside and on the host", []group{
			{"docker run of a trivial image", "ms", shorter, bars(dockerRun)},
			{"docker build of a small context", "ms", shorter, bars(dockerBuild)},
		}},
	}
}

// Geometry of a chart, in pixels.
const (
	chartWidth = 720
	labelWidth = 200
	valueWidth = 90
	barHeight  = 18
	barStep    = 26
	titleStep  = 34
	top        = 40
)

// drawn is a bar with its position.
type drawn struct {
	bar
	Y, Width, Whisker1, Whisker2 int
	Text                         string
}

type drawnGroup struct {
	group
	Y     int
	Drawn []drawn
}

// svg draws a chart that is readable on light and dark backgrounds.
func (c chart) svg() ([]byte, error) {
	view := struct {
		chart
		Width, Height, X, Bar int
		Drawn                 []drawnGroup
	}{chart: c, Width: chartWidth, X: labelWidth, Bar: barHeight}
	y := top
	for _, one := range c.Groups {
		most := 0.0
		for _, bar := range one.Bars {
			most = max(most, bar.Max)
		}
		scale := 0.0
		if most > 0 {
			scale = (chartWidth - labelWidth - valueWidth) / most
		}
		place := func(value float64) int { return int(math.Round(value * scale)) }
		group := drawnGroup{group: one, Y: y + 16}
		y += titleStep - 8
		for _, bar := range one.Bars {
			group.Drawn = append(group.Drawn, drawn{
				bar: bar, Y: y, Width: max(1, place(bar.Median)), Whisker1: labelWidth + place(bar.Min), Whisker2: labelWidth + place(bar.Max),
				Text: number(bar.Median) + " " + one.Unit,
			})
			y += barStep
		}
		y += 8
		view.Drawn = append(view.Drawn, group)
	}
	view.Height = y
	return render("chart", chartText, view)
}

// report returns the content of docs/bench/README.md.
func (r *Results) report() ([]byte, error) {
	return render("report", reportText, struct {
		*Results
		Charts  []chart
		Profile []share
	}{r, r.charts(), r.profile()})
}

func render(name, text string, view any) ([]byte, error) {
	tmpl, err := template.New(name).Option("missingkey=error").Funcs(template.FuncMap{
		"number":  number,
		"gib":     func(bytes int64) string { return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30)) },
		"percent": func(share float64) string { return fmt.Sprintf("%.0f %%", 100*share) },
		"add":     func(a, b int) int { return a + b },
	}).Parse(text)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := tmpl.Execute(&out, view); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// number formats a value with three significant digits.
func number(value float64) string {
	switch size := math.Abs(value); {
	case size >= 100:
		return strconv.FormatFloat(value, 'f', 0, 64)
	case size >= 10:
		return strconv.FormatFloat(value, 'f', 1, 64)
	default:
		return strconv.FormatFloat(value, 'f', 2, 64)
	}
}

// files returns all files that a run writes, by path.
func (r *Results) files() (map[string][]byte, error) {
	files := map[string][]byte{}
	var err error
	if files[resultsFile], err = r.JSON(); err != nil {
		return nil, err
	}
	if files[filepath.Join(reportDir, "README.md")], err = r.report(); err != nil {
		return nil, err
	}
	for _, one := range r.charts() {
		if files[filepath.Join(reportDir, one.File)], err = one.svg(); err != nil {
			return nil, err
		}
	}
	return files, nil
}

func write(r *Results) error {
	files, err := r.files()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(reportDir, 0o755); err != nil {
		return err
	}
	for path, content := range files {
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

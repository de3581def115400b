// Package view prints runners, records, logs, events and doctor's reports for people, and lines
// that come one by one also as JSON. It imports internal/{doctor,fleet,ui}.
package view

import (
	"io"
	"strings"

	"github.com/runnerctl/runnerctl/internal/doctor"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// WriteReport prints doctor's checks at the width of w.
func WriteReport(w io.Writer, report doctor.Report, theme ui.Theme, env doctor.Env) {
	doctor.WriteText(w, report, DoctorStyle(w, theme, env))
}

// DoctorStyle returns the style of doctor's output on w.
func DoctorStyle(w io.Writer, theme ui.Theme, env doctor.Env) doctor.Style {
	columns := ui.Columns(w)
	return doctor.Style{
		OK: theme.OK, Fail: theme.Fail, Warn: theme.Warn, Dim: theme.Dim, Bold: theme.Bold,
		Narrow: columns > 0 && columns < ui.Narrow, Machine: MachineOf(env, ""),
	}
}

// MachineOf returns the name of the engine's machine, or here if it is this machine.
func MachineOf(env doctor.Env, here string) string {
	known := env.Known
	switch {
	case known.Local, known.Engine.Name == "" && strings.HasPrefix(known.Endpoint, "unix://"):
		return here
	case known.Engine.Name != "":
		return known.Engine.Name
	}
	return known.Endpoint
}

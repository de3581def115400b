package view

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// known returns a value that a runner reported, or a dash if it is empty.
func known(text string) string {
	if text == "" {
		return "–"
	}
	return ui.Plain(text)
}

// writeSection prints a title and rows below it; long texts continue below their own start.
func writeSection(w io.Writer, theme ui.Theme, title string, rows [][2]string) {
	fmt.Fprintln(w, theme.Bold(title))
	const left = 15
	for _, row := range rows {
		lines := []string{row[1]}
		if columns := ui.Columns(w); columns > left {
			lines = ui.Wrap(row[1], columns-left)
		}
		fmt.Fprintf(w, "  %-12s %s\n", row[0], strings.Join(lines, "\n"+strings.Repeat(" ", left)))
	}
}

// WriteDetails prints all that is known about a runner.
func WriteDetails(w io.Writer, of fleet.Details, theme ui.Theme) {
	at := func(when *time.Time) string {
		if when == nil {
			return "–"
		}
		return when.Format(time.RFC3339)
	}
	section := func(title string, rows [][2]string) { writeSection(w, theme, title, rows) }
	section(of.Name, [][2]string{
		{"fleet", of.Fleet + " (" + string(of.Role) + ")"},
		{"host", of.Host},
		{"state", stateOf(of.Runner)},
		{"created", of.Created.Format(time.RFC3339)},
		{"started", at(of.Started)},
		{"last end", lastEnd(of, at)},
		{"restarts", fmt.Sprintf("%d of the container, %d of its daemons", of.Revivals, len(of.DaemonRestarts))},
		{"image", of.Image},
		{"image id", of.Pinned},
		{"container", of.ContainerID},
		{"volume", of.Volume},
		{"spec", of.Spec},
	})
	section("limits", [][2]string{
		{"cpus", fmt.Sprintf("%g", of.Limits.CPUs)},
		{"memory", ui.Bytes(of.Limits.Memory)},
		{"pids", fmt.Sprint(of.Limits.Pids)},
		{"shm", ui.Bytes(of.Limits.Shm)},
	})
	section("engine", [][2]string{
		{"outer", known(of.Engine.Outer)},
		{"inner", known(of.Engine.Inner)},
		{"storage", known(of.Engine.StorageDriver)},
		{"cgroups", known(of.Engine.CgroupDriver)},
	})
	var mtus []string
	for _, name := range slices.Sorted(maps.Keys(of.Network.MTUs)) {
		mtus = append(mtus, fmt.Sprintf("%s %d", ui.Plain(name), of.Network.MTUs[name]))
	}
	section("network", [][2]string{
		{"driver", of.Network.Driver},
		{"mtu", fmt.Sprintf("%d wanted", of.Network.MTU)},
		{"mtus", known(strings.Join(mtus, ", "))},
		{"docker0", known(of.Network.Bip)},
		{"pool", known(of.Network.Pool)},
	})
	security := [][2]string{
		{"apparmor", known(of.AppArmor)},
		{"privileged", map[bool]string{true: "never; inner containers may be", false: "never, nor are inner containers"}[of.InnerPrivileged]},
	}
	for _, one := range of.UIDMap {
		text := fmt.Sprintf("%d inside is %d on the host", one.Inside, one.Outside)
		if one.Length > 1 {
			text = fmt.Sprintf("%d–%d inside are %d–%d on the host", one.Inside, one.Inside+one.Length-1, one.Outside, one.Outside+one.Length-1)
		}
		security = append(security, [2]string{"uids", text})
	}
	section("security", security)
	var phases [][2]string
	for _, phase := range of.Phases {
		phases = append(phases, [2]string{ui.Plain(phase.Name), fmt.Sprintf("%.2fs", phase.After)})
	}
	section("start", phases)
	for _, one := range of.DaemonRestarts {
		fmt.Fprintf(w, "  %-12s restarted at %s\n", ui.Plain(one.Name), one.Time.Format(time.RFC3339))
	}
}

// lastEnd returns when and how the container last ended.
func lastEnd(of fleet.Details, at func(*time.Time) string) string {
	if of.Finished == nil {
		return "–"
	}
	if of.State == fleet.Running {
		return at(of.Finished) // the engine forgets the code when it starts a container again
	}
	text := fmt.Sprintf("%s, exit code %d", at(of.Finished), of.ExitCode)
	if of.OOMKilled {
		text += ", out of memory"
	}
	return text
}

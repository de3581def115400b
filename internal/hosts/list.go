// Package hosts is about the hosts of the settings: it lists them, and empties one. It may
// import dockerx and internal/{config,lifecycle,session,spelling,ui}.
package hosts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// List are the options of host ls.
type List struct {
	Settings config.Config
	JSON     bool
}

// entry is one entry of `host ls -o json`.
type entry struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	Count   int    `json:"count"`   // wanted number of runners
	Runners int    `json:"runners"` // runners of the fleet that exist now
	Docker  string `json:"docker"`
	Kernel  string `json:"kernel"`
	CPUs    int    `json:"cpus"`
	Memory  int64  `json:"memory"`
	Problem string `json:"problem,omitempty"`
}

// Run asks every host that the session covers, in parallel, and prints the hosts in the
// settings' order.
func (o List) Run(ctx context.Context, s session.Session) error {
	entries := []entry{}
	var mu sync.Mutex
	failed := session.OnEach(s.Each(), func(s session.Session) error {
		one, err := o.look(ctx, s)
		mu.Lock()
		defer mu.Unlock()
		entries = append(entries, one)
		return err
	})
	order := s.Hosts.Names()
	slices.SortFunc(entries, func(a, b entry) int { return slices.Index(order, a.Name) - slices.Index(order, b.Name) })
	if o.JSON {
		return errors.Join(ui.WriteJSON(s.Streams.Out, entries), failed)
	}
	var rows [][]string
	for _, one := range entries {
		row := []string{one.Name, one.Address, fmt.Sprintf("%d/%d", one.Runners, one.Count), one.Docker, one.Kernel, fmt.Sprint(one.CPUs), ui.Bytes(one.Memory)}
		if one.Problem != "" {
			row = []string{one.Name, one.Address, fmt.Sprintf("?/%d", one.Count), "–", "–", "–", "–"}
		}
		rows = append(rows, row)
	}
	ui.Table(s.Streams.Out, []string{"NAME", "ADDRESS", "RUNNERS", "DOCKER", "KERNEL", "CPUS", "MEMORY"}, rows)
	return failed
}

func (o List) look(ctx context.Context, s session.Session) (found entry, err error) {
	endpoint, err := s.Endpoint()
	found = entry{Name: endpoint.Name, Address: endpoint.Host, Count: o.Settings.CountOn(endpoint.Name)}
	defer func() {
		if err != nil {
			found.Problem = dockerx.Reason(err).Error()
		}
	}()
	if err != nil {
		found.Name = s.Host
		return found, err
	}
	engine, _, err := s.Connect()
	if err != nil {
		return found, err
	}
	defer engine.Close()
	machine, err := engine.Facts(ctx)
	if err != nil {
		return found, err
	}
	found.Docker, found.Kernel, found.CPUs, found.Memory = machine.Version, machine.Kernel, machine.CPUs, machine.Memory
	runners, err := engine.Known(ctx, o.Settings.Name)
	found.Runners = len(runners)
	return found, err
}

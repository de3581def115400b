package fleet

import "testing"

func TestShort(t *testing.T) {
	spec := Spec{ImageID: "new", Agent: Agent{Mode: JIT, URL: "https://github.com/acme/api"}}
	desired := Desired{Count: 2, Spec: spec}
	idle := Runner{State: Running, Ready: true, Agent: spec.Agent, ImageID: "new", SpecHash: spec.Hash(), Listing: &Listing{State: Online}}
	with := func(change func(*Runner)) Runner {
		one := idle
		change(&one)
		return one
	}
	busy := with(func(r *Runner) { r.Ready, r.Listing = false, &Listing{State: Online, Busy: true} })
	old := with(func(r *Runner) { r.ImageID = "old" })
	oldBusy := with(func(r *Runner) { r.ImageID, r.Listing = "old", &Listing{State: Online, Busy: true} })
	starting := with(func(r *Runner) { r.Ready = false })
	spare := with(func(r *Runner) { r.Start, r.Listing = Spare, &Listing{State: NotListed} })
	ended := with(func(r *Runner) { r.State = Exited })
	alone := with(func(r *Runner) { r.Agent, r.Listing = Agent{}, nil })
	for name, test := range map[string]struct {
		runners []Runner
		want    string
	}{
		"none":                    {nil, "0 of 2 are ready"},
		"all":                     {[]Runner{idle, idle}, ""},
		"one starts":              {[]Runner{idle, starting}, "1 of 2 are ready"},
		"one ended":               {[]Runner{idle, ended}, "1 of 2 are ready"},
		"spares don't count":      {[]Runner{idle, spare}, "1 of 2 are ready"},
		"nor do they harm":        {[]Runner{idle, idle, spare, ended}, ""},
		"jobs count":              {[]Runner{busy, idle}, ""},
		"of another spec too":     {[]Runner{oldBusy, idle}, ""},
		"an idle one does not":    {[]Runner{old, idle}, "1 of 2 are ready"},
		"and is to go":            {[]Runner{old, idle, idle}, "1 of another spec still exist"},
		"too many":                {[]Runner{idle, idle, idle, busy}, "2 too many still exist"},
		"too many that have jobs": {[]Runner{busy, busy, busy}, ""},
		"without GitHub":          {[]Runner{alone, alone}, ""},
	} {
		if got := desired.Short(test.runners); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

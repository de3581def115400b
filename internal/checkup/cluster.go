package checkup

import (
	"context"
	"time"

	"github.com/runnerctl/runnerctl/internal/cluster"
	"github.com/runnerctl/runnerctl/internal/doctor"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
	"github.com/runnerctl/runnerctl/internal/view"
)

// Cluster are the options of export kubernetes --check.
type Cluster struct {
	Kubeconfig, Context string // "": as kubectl selects them
	Wanted              cluster.Wanted
	JSON                bool
	Theme               ui.Theme
}

// Run checks a cluster and prints the report. It returns session.ErrFailed if it lacks something.
func (o Cluster) Run(ctx context.Context, s session.Session) error {
	server, err := cluster.Connect(o.Kubeconfig, o.Context)
	if err != nil {
		return err
	}
	state, err := server.Read(ctx, o.Wanted)
	if err != nil {
		return err
	}
	report := doctor.Run(ctx, cluster.Checks(state, o.Wanted), doctor.Env{}, time.Minute)
	if o.JSON {
		err = ui.WriteJSON(s.Streams.Out, report)
	} else {
		view.WriteReport(s.Streams.Out, report, o.Theme, doctor.Env{})
	}
	if err == nil && report.Failed() {
		err = session.ErrFailed
	}
	return err
}

package advice

import (
	"errors"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/checkup"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/controller"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/hint"
	"github.com/runnerctl/runnerctl/internal/lifecycle"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/supervisor"
)

// commandFor returns the command that helps after an error, by the type of the error itself; ""
// for other types.
func commandFor(err error) string {
	switch e := err.(type) { //nolint:errorlint // commandIn looks at the errors that it wraps
	case *checkup.MissingError:
		return "runnerctl build"
	case *config.Error:
		switch {
		case errors.Is(e.Err, config.ErrUnread):
			return "runnerctl init creates the file; the defaults need no file"
		case errors.Is(e.Err, config.ErrNoRunners):
			return "runnerctl down removes every runner"
		}
	case *controller.LeftError:
		return "runnerctl down removes it once GitHub shows it as offline and idle, within minutes; no runner of this engine has it any more"
	case *controller.NoDesiredStateError:
		return "runnerctl up saves one"
	case *controller.StillBusyError:
		return "runnerctl down again waits on (--wait LIMIT); --force cancels the job"
	case *dockerx.BuildError:
		if e.Advice == "" {
			return "runnerctl build --print shows the Dockerfile, --progress plain every line of the build"
		}
	case *dockerx.SupervisedError:
		if e.Foreground {
			return "stop the process runnerctl supervise; its runners are kept"
		}
		return "runnerctl events shows its events; runnerctl up --no-supervisor removes it and keeps the runners"
	case *fleet.NotReadyError:
		return "runnerctl up tries again; runnerctl doctor checks the host, and with --deep a runner"
	case *lifecycle.ChangedError:
		return "run runnerctl up again"
	case *lifecycle.NoneWantedError:
		return "runnerctl host drain " + e.Host + " removes the existing ones; --count N overrides the setting"
	case *session.NoRunnerError:
		return "runnerctl ps --all lists them"
	case *session.UnaskedError:
		own := hint.Of(e.Unwrap())
		if own != "" {
			own += "; "
		}
		return own + "runnerctl down --force continues without GitHub, which removes such runners by itself after a day (with ephemeral: false, after two weeks)"
	case *supervisor.NotConvergedError:
		return "its supervisor continues: runnerctl events -f follows it; runners.readyTimeout gives a slow start more time"
	case *supervisor.NotStartedError:
		return "its runners are there: runnerctl up --no-supervisor leaves them alone, runnerctl down removes them"
	}
	return ""
}

// commandIn is commandFor the first error that has a command, of those that err wraps. A hint of
// an error further outside goes before it.
func commandIn(err error) string {
	if text := commandFor(err); text != "" {
		return text
	}
	if own, ok := err.(interface{ Hint() string }); ok && own.Hint() != "" { //nolint:errorlint // this one only
		return ""
	}
	switch wrapping := err.(type) { //nolint:errorlint // the errors that it wraps come next
	case interface{ Unwrap() error }:
		if inner := wrapping.Unwrap(); inner != nil {
			return commandIn(inner)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range wrapping.Unwrap() {
			if inner == nil {
				continue
			}
			if text := commandIn(inner); text != "" || hint.Of(inner) != "" {
				return text
			}
		}
	}
	return ""
}

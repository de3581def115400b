package demo

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/ghsim"
	"github.com/runnerctl/runnerctl/internal/hint"
)

// startGitHub starts the stand-in at an address that the runners reach, and points the
// settings at it.
func startGitHub(ctx context.Context, engine *dockerx.Engine, settings *config.Config) (github *ghsim.Server, done func(), err error) {
	bridge, err := engine.Bridge(ctx)
	if err != nil {
		return nil, nil, err
	}
	if github, err = ghsim.Start(ghsim.Options{RunnerAddress: net.JoinHostPort(bridge.String(), "0")}); err != nil {
		return nil, nil, hint.Add(err, "the demo needs an engine on this machine, because its runners connect back to it")
	}
	written, err := writeAccess("runnerctl-demo-", github.CA(), github.ClassicToken(time.Hour, "repo"))
	if err != nil {
		github.Close()
		return nil, nil, err
	}
	settings.Target, settings.GitHub = github.URL+"/acme/api", config.GitHub{CAFile: written.ca, TokenFlag: written.token}
	return github, func() {
		github.Close()
		written.remove()
	}, nil
}

// access are the files that a client of the stand-in needs. They are worthless once it ends.
type access struct{ folder, ca, token string }

func writeAccess(folder string, ca []byte, token string) (written access, err error) {
	if written.folder, err = os.MkdirTemp("", folder); err != nil {
		return written, fmt.Errorf("stand-in GitHub: %w", err)
	}
	written.ca, written.token = filepath.Join(written.folder, "ca.pem"), filepath.Join(written.folder, "token")
	for path, content := range map[string][]byte{written.ca: ca, written.token: []byte(token)} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			written.remove()
			return written, fmt.Errorf("stand-in GitHub: %w", err)
		}
	}
	return written, nil
}

func (a access) remove() { _ = os.RemoveAll(a.folder) }

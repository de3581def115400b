package supervisor

import (
	"testing"

	"github.com/runnerctl/runnerctl/dockerx"
)

func TestEngineSocket(t *testing.T) {
	for host, want := range map[string]string{
		"unix:///run/user/1000/docker.sock": "/run/user/1000/docker.sock",
		"ssh://me@build.example":            dockerx.SupervisorSocket,
		"ssh://me@build.example/run/d.sock": "/run/d.sock",
		"tcp://build.example:2376":          dockerx.SupervisorSocket,
	} {
		if got := socketOf(dockerx.Endpoint{Host: host}); got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
}

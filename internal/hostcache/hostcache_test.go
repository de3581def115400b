package hostcache

import (
	"encoding/json"
	"testing"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/config"
)

func TestConfigOf(t *testing.T) {
	for name, test := range map[string]struct {
		settings config.Config
		want     string
	}{
		"off":       {config.Config{Target: "https://github.com/acme"}, "null"},
		"no target": {config.Config{Cache: config.Cache{Size: 1 << 30, Registries: []string{"docker.io"}}}, `{"size":1073741824,"actions":false,"registries":["docker.io"]}`},
		"proxy": {config.Config{Cache: config.Cache{Size: 1 << 30}, Runners: config.Runners{Proxy: config.Proxy{HTTP: "http://proxy:3128", NoProxy: []string{"a", "b"}}}},
			`{"size":1073741824,"actions":false,"proxy":{"HTTPProxy":"http://proxy:3128","HTTPSProxy":"","NoProxy":"a,b","CGI":false}}`},
		"target": {config.Config{Target: "https://github.com/acme", Cache: config.Cache{Size: 1 << 30, Actions: true}},
			`{"size":1073741824,"actions":true,"targets":[{"name":"github.com","issuer":"https://token.actions.githubusercontent.com","results":"https://results-receiver.actions.githubusercontent.com","api":"https://api.github.com"}]}`},
	} {
		made, err := ConfigOf(test.settings)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got, _ := json.Marshal(made); string(got) != test.want {
			t.Errorf("%s: got %s, want %s", name, got, test.want)
		}
	}
}

func TestConfigIn(t *testing.T) {
	for name, test := range map[string]struct {
		command []string
		size    int64
		fails   bool
	}{
		"no cache":      {},
		"a cache":       {command: []string{Command, `{"size":7}`}, size: 7},
		"another shape": {command: []string{Command, `[]`}, fails: true},
	} {
		if made, err := configIn(dockerx.CacheState{Command: test.command}); made.Size != test.size || (err != nil) != test.fails {
			t.Errorf("%s: got %+v, %v, want size %d, error %t", name, made, err, test.size, test.fails)
		}
	}
}

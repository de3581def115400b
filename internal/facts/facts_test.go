package facts

import (
	"strings"
	"testing"

	"golang.org/x/net/http/httpproxy"

	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/doctor"
)

func TestWayOf(t *testing.T) {
	for name, one := range map[string]struct {
		target string
		proxy  config.Proxy
		client map[string]string
		want   string
	}{
		"a target":                    {target: "https://github.com/acme/api", want: "github.com:443"},
		"a target with a port":        {target: "https://[fd00::1]:8443/acme/api", want: "[fd00::1]:8443"},
		"a proxy of the runners":      {target: "https://github.com/acme/api", proxy: config.Proxy{HTTPS: "http://proxy.example:3128"}, want: "proxy.example:3128"},
		"one without a port":          {proxy: config.Proxy{HTTP: "http://proxy.example"}, want: "proxy.example:80"},
		"a proxy of this side":        {target: "https://github.com/acme/api", client: map[string]string{"HTTPS_PROXY": "http://here:1"}},
		"neither a target, nor proxy": {},
		"a stand-in on this machine":  {target: "https://127.0.0.1:8443/acme/api"},
		"a stand-in by name":          {target: "https://localhost:8443/acme/api"},
	} {
		known := doctor.Facts{Client: doctor.Client{Proxy: one.client}, Wanted: doctor.Wanted{Target: one.target}}
		if got := wayOf(known, one.proxy).target; got != one.want {
			t.Errorf("%s: %q, want %q", name, got, one.want)
		}
	}
}

func TestProxyWithoutCredentials(t *testing.T) {
	got := proxyFacts(httpproxy.Config{HTTPProxy: "http://user:secret@proxy:3128/x", HTTPSProxy: "user:secret@proxy"})
	if got["HTTP_PROXY"] != "http://proxy:3128" || strings.Contains(got["HTTPS_PROXY"], "secret") {
		t.Errorf("%v", got)
	}
}

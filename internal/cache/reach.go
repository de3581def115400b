package cache

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/runnerctl/runnerctl/internal/cache/token"
)

// reachLimit bounds the wait for one server.
const reachLimit = 10 * time.Second

// Reach describes whether the cache reaches a server that it needs.
type Reach struct {
	Name    string        `json:"name"`
	Problem string        `json:"problem,omitempty"` // "" if the server answers
	Skew    time.Duration `json:"skew,omitempty"`    // of its clock against this machine's; positive: it is ahead
}

// reach asks all servers at once. Any answer counts, because most require a login.
func (s *Server) reach(ctx context.Context) []Reach {
	var urls []string
	for _, one := range s.Config.Targets {
		urls = append(urls, token.KeysURL(one.Issuer), one.Results, one.API)
	}
	for _, name := range s.Config.Registries {
		at := s.Config.Upstreams[name]
		if at == "" {
			at = "https://" + registryHost(name)
		}
		urls = append(urls, strings.TrimSuffix(at, "/")+"/v2/")
	}
	all := make([]Reach, len(urls))
	var group sync.WaitGroup
	for i, at := range urls {
		group.Go(func() { all[i] = s.reachOne(ctx, at) })
	}
	group.Wait()
	return all
}

// registryHost is the host of a registry. Docker Hub's has another name than its images.
func registryHost(name string) string {
	if name == "docker.io" {
		return "index.docker.io"
	}
	return name
}

func (s *Server) reachOne(ctx context.Context, at string) Reach {
	ctx, cancel := context.WithTimeout(ctx, reachLimit)
	defer cancel()
	found := Reach{Name: at}
	if to, err := url.Parse(at); err == nil {
		found.Name = to.Host
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at, http.NoBody)
	if err == nil {
		var answer *http.Response
		if answer, err = s.out.RoundTrip(request); err == nil {
			_ = answer.Body.Close()
			if date, err := http.ParseTime(answer.Header.Get("Date")); err == nil {
				found.Skew = date.Sub(s.Now()).Truncate(time.Second)
			}
		}
	}
	if err != nil {
		found.Problem = err.Error()
	}
	return found
}

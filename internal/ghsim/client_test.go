package ghsim_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/internal/ghsim"
)

func start(t *testing.T, options ghsim.Options) *ghsim.Server {
	t.Helper()
	s, err := ghsim.Start(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// strict is a client of the API that checks each answer.
type strict struct {
	t     *testing.T
	base  string
	token string
	http  *http.Client
}

func client(t *testing.T, s *ghsim.Server, token string) strict {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(s.CA()) {
		t.Fatal("the CA is no PEM")
	}
	return strict{t: t, base: s.URL + "/api/v3", token: token, http: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}}
}

// do wants the status and reads the body; it gives the headers.
func (c strict) do(method, path string, body any, status int, into any) http.Header {
	c.t.Helper()
	response, content, err := c.try(method, path, body)
	if err != nil {
		c.t.Fatal(err)
	}
	if response.StatusCode != status {
		c.t.Fatalf("%s %s: %s, want %d: %s", method, path, response.Status, status, content)
	}
	if into != nil {
		if err := json.Unmarshal(content, into); err != nil {
			c.t.Fatalf("%s %s: %v: %s", method, path, err, content)
		}
	}
	return response.Header
}

func (c strict) try(method, path string, body any) (*http.Response, []byte, error) {
	c.t.Helper()
	encoded, err := json.Marshal(body)
	if err != nil {
		c.t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(c.t.Context(), method, c.base+path, bytes.NewReader(encoded))
	if err != nil {
		c.t.Fatal(err)
	}
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	return response, content, err
}

type minted struct {
	Runner struct {
		ID     int64
		Name   string
		Status string
	}
	Encoded string `json:"encoded_jit_config"`
}

func (m minted) id() string { return strconv.FormatInt(m.Runner.ID, 10) }

func mint(t *testing.T, s *ghsim.Server, place, name string, labels ...string) minted {
	t.Helper()
	scope := map[bool]string{true: "repo", false: "admin:org"}[strings.HasPrefix(place, "repos/")]
	var made minted
	client(t, s, s.ClassicToken(0, scope)).do("POST", "/"+place+"/actions/runners/generate-jitconfig", map[string]any{"name": name, "runner_group_id": 1, "labels": labels}, 201, &made)
	return made
}

func queue(t *testing.T, s *ghsim.Server, workflow string) int64 {
	t.Helper()
	jobs, err := ghsim.ParseJobs([]byte(workflow))
	if err != nil {
		t.Fatal(err)
	}
	id, err := s.Queue(jobs[0])
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func wait(t *testing.T, s *ghsim.Server, id int64) ghsim.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	result, err := s.Wait(ctx, id)
	if err != nil {
		asked := s.Requests()
		for _, one := range asked[max(0, len(asked)-20):] {
			t.Logf("%s %s %s by %s: %d after %s %s", one.At.Format(time.StampMilli), one.Method, one.Path, one.Who, one.Status, one.Duration, one.Refused)
		}
		t.Fatal(err)
	}
	return result
}

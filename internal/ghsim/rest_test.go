package ghsim_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v4"

	"github.com/runnerctl/runnerctl/internal/ghsim"
)

func TestPermissions(t *testing.T) {
	s := start(t, ghsim.Options{})
	s.AddRepository("acme/open", ghsim.Public)
	s.AddRepository("other/hidden", ghsim.Private)
	repo, org, enterprise := "/repos/acme/api/actions/runners", "/orgs/acme/actions/runners", "/enterprises/big/actions/runners"
	fine := s.FineGrainedToken(0, "acme", ghsim.RunnerPermissions())
	readOnly := s.FineGrainedToken(0, "acme", map[string]string{"administration": "read"})
	for _, c := range []struct {
		name, token, method, path string
		status                    int
		says                      string
	}{
		{"no token", "", "GET", repo, 401, "Requires authentication"},
		{"unknown token", "ghp_nonsense", "GET", repo, 401, "Bad credentials"},
		{"expired token", s.ClassicToken(-time.Second, "repo"), "GET", repo, 401, "Bad credentials"},
		{"classic with repo", s.ClassicToken(time.Hour, "repo"), "GET", repo, 200, ""},
		{"classic without", s.ClassicToken(0), "GET", repo, 404, "Not Found"},
		{"classic without, public", s.ClassicToken(0), "GET", "/repos/acme/open/actions/runners", 403, "Must have admin rights to Repository."},
		{"public repository", s.ClassicToken(0), "GET", "/repos/acme/open", 200, ""},
		{"classic with repo for an organization", s.ClassicToken(0, "repo"), "GET", org, 403, "admin"},
		{"classic with admin:org", s.ClassicToken(0, "admin:org"), "POST", org + "/registration-token", 201, ""},
		{"enterprise", s.ClassicToken(0, "manage_runners:enterprise"), "POST", enterprise + "/remove-token", 201, ""},
		{"enterprise, fine-grained", fine, "GET", enterprise, 404, ""},
		{"fine-grained", fine, "POST", repo + "/registration-token", 201, ""},
		{"fine-grained, organization", fine, "GET", org, 200, ""},
		{"fine-grained, another owner's", fine, "GET", "/repos/other/hidden/actions/runners", 404, "Not Found"},
		{"fine-grained, read only", readOnly, "GET", repo, 200, ""},
		{"fine-grained, read only, writes", readOnly, "POST", repo + "/registration-token", 403, "Resource not accessible by personal access token"},
		{"no such repository", fine, "GET", "/repos/acme/nothing/actions/runners", 404, "Not Found"},
		{"no such path", fine, "GET", "/nothing", 404, "Not Found"},
	} {
		var body struct{ Message string }
		api := client(t, s, c.token)
		response, content, err := api.try(c.method, c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = json.Unmarshal(content, &body)
		if response.StatusCode != c.status || !strings.Contains(body.Message, c.says) {
			t.Errorf("%s: %d %s, want %d %q", c.name, response.StatusCode, content, c.status, c.says)
		}
		if response.Header.Get("X-RateLimit-Remaining") == "" || response.Header.Get("X-GitHub-Request-Id") == "" {
			t.Errorf("%s: headers %v, want X-RateLimit-Remaining and X-GitHub-Request-Id", c.name, response.Header)
		}
	}
	api := client(t, s, fine)
	api.base = s.URL // as api.github.com
	api.do("GET", repo, nil, 200, nil)
	for _, r := range s.Requests() {
		if text := fmt.Sprint(r); strings.Contains(text, fine) || strings.Contains(text, "nonsense") {
			t.Errorf("a secret is on record: %s", text)
		}
	}
}

func TestApp(t *testing.T) {
	s := start(t, ghsim.Options{})
	id, key, err := s.App()
	if err != nil {
		t.Fatal(err)
	}
	private, err := jwt.ParseRSAPrivateKeyFromPEM(key)
	if err != nil {
		t.Fatal(err)
	}
	asApp := func(issued time.Time, life time.Duration) strict {
		token, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.RegisteredClaims{
			Issuer: fmt.Sprint(id), IssuedAt: jwt.NewNumericDate(issued), ExpiresAt: jwt.NewNumericDate(issued.Add(life)),
		}).SignedString(private)
		if err != nil {
			t.Fatal(err)
		}
		return client(t, s, token)
	}
	now := asApp(time.Now().Add(-time.Minute), 5*time.Minute)
	now.do("GET", "/repos/acme/api/installation", nil, 404, nil)
	installation := s.Install(id, "acme", ghsim.RunnerPermissions())
	var found struct{ ID int64 }
	now.do("GET", "/repos/acme/api/installation", nil, 200, &found)
	if found.ID != installation {
		t.Errorf("installation %d, want %d", found.ID, installation)
	}
	var access struct{ Token string }
	now.do("POST", fmt.Sprintf("/app/installations/%d/access_tokens", installation), nil, 201, &access)
	client(t, s, access.Token).do("GET", "/orgs/acme/actions/runners", nil, 200, nil)
	now.do("GET", "/repos/acme/api/actions/runners", nil, 401, nil)
	asApp(time.Now().Add(time.Minute), 5*time.Minute).do("GET", "/app", nil, 401, nil)
	asApp(time.Now().Add(-time.Minute), time.Hour).do("GET", "/app", nil, 401, nil)
	s.SetClockOffset(10 * time.Minute)
	if header := now.do("GET", "/app", nil, 401, nil); !strings.Contains(header.Get("Date"), time.Now().Add(10*time.Minute).UTC().Format("15:04")) {
		t.Errorf("Date %s, want 10 minutes from now", header.Get("Date"))
	}
}

func TestRegistrations(t *testing.T) {
	s := start(t, ghsim.Options{})
	api := client(t, s, s.ClassicToken(0, "repo", "admin:org"))
	jit := "/orgs/acme/actions/runners/generate-jitconfig"
	body := func(name string, group int64, labels ...string) map[string]any {
		return map[string]any{"name": name, "runner_group_id": group, "labels": labels}
	}
	first := mint(t, s, "orgs/acme", "one", "linux")
	api.do("POST", jit, body("one", 1, "linux"), 409, nil)
	api.do("POST", jit, body("two", 1), 422, nil)
	api.do("POST", jit, body("", 1, "linux"), 422, nil)
	api.do("POST", jit, body("two", 77, "linux"), 404, nil)
	api.do("POST", jit, map[string]any{"name": "two", "labels": []string{"linux"}}, 422, nil)
	api.do("POST", jit, body("two", s.AddGroup("orgs/acme", "big ones"), "linux"), 201, nil)
	api.do("GET", "/orgs/acme/actions/runners/"+first.id(), nil, 200, nil)
	api.do("GET", "/repos/acme/api/actions/runners/"+first.id(), nil, 404, nil)
	api.do("DELETE", "/orgs/acme/actions/runners/"+first.id(), nil, 204, nil)
	api.do("DELETE", "/orgs/acme/actions/runners/"+first.id(), nil, 404, nil)
	var groups struct {
		Groups []struct{ Name string } `json:"runner_groups"`
	}
	if api.do("GET", "/orgs/acme/actions/runner-groups", nil, 200, &groups); len(groups.Groups) != 2 {
		t.Errorf("got %+v, want 2", groups)
	}
	api.do("GET", "/orgs/acme/actions/runners/deprecations/"+ghsim.AgentVersion, nil, 200, nil)
	api.do("GET", "/orgs/acme/actions/runners/downloads", nil, 200, nil)
	api.do("GET", "/meta", nil, 200, nil)
}

func TestPaging(t *testing.T) {
	s := start(t, ghsim.Options{})
	for i := range 5 {
		mint(t, s, "orgs/acme", fmt.Sprintf("r%d", i), "linux")
	}
	api := client(t, s, s.ClassicToken(0, "admin:org"))
	var names []string
	path := "/orgs/acme/actions/runners?per_page=2"
	for pages := 0; path != ""; pages++ {
		var list struct {
			Total   int `json:"total_count"`
			Runners []struct{ Name, Status string }
		}
		link := api.do("GET", path, nil, 200, &list).Get("Link")
		if list.Total != 5 || pages > 2 {
			t.Fatalf("page %d: %+v, want a total of 5, and no further page", pages, list)
		}
		for _, r := range list.Runners {
			names = append(names, r.Name+" "+r.Status)
		}
		path = ""
		for part := range strings.SplitSeq(link, ", ") {
			if next, is := strings.CutSuffix(part, `>; rel="next"`); is {
				path = strings.TrimPrefix(next, "<"+api.base)
			}
		}
	}
	if got := strings.Join(names, ", "); got != "r0 offline, r1 offline, r2 offline, r3 offline, r4 offline" {
		t.Errorf("got %q, want %q", got, "r0 offline, r1 offline, r2 offline, r3 offline, r4 offline")
	}
	var one struct{ Runners []struct{ Name string } }
	if api.do("GET", "/orgs/acme/actions/runners?name=r3", nil, 200, &one); len(one.Runners) != 1 {
		t.Errorf("got %+v, want one", one)
	}
}

func TestFaults(t *testing.T) {
	s := start(t, ghsim.Options{})
	api := client(t, s, s.ClassicToken(0, "admin:org"))
	runners, jit := "/orgs/acme/actions/runners", "/orgs/acme/actions/runners/generate-jitconfig"
	s.Inject(ghsim.SecondaryLimit("GET /orgs/*/actions/runners", 1, 7*time.Second))
	if header := api.do("GET", runners, nil, 403, nil); header.Get("Retry-After") != "7" {
		t.Errorf("headers %v, want Retry-After 7", header)
	}
	api.do("GET", runners, nil, 200, nil)
	s.Inject(ghsim.BadGateway("* /orgs/**", 1))
	if header := api.do("GET", runners, nil, 502, nil); !strings.HasPrefix(header.Get("Content-Type"), "text/html") {
		t.Errorf("headers %v, want text/html", header)
	}
	remove := s.Inject(ghsim.Fault{Match: "GET /orgs/*/actions/runners", Latency: 300 * time.Millisecond})
	if began := time.Now(); true {
		if api.do("GET", runners, nil, 200, nil); time.Since(began) < 300*time.Millisecond {
			t.Errorf("answered after %s, want 300ms at least", time.Since(began))
		}
	}
	remove()
	body := map[string]any{"name": "half", "runner_group_id": 1, "labels": []string{"linux"}}
	s.Inject(ghsim.Fault{Match: "POST " + jit, Times: 1, Drop: ghsim.DropBefore})
	if _, _, err := api.try("POST", jit, body); err == nil || len(s.Runners()) != 0 {
		t.Errorf("dropped before: %v, %+v, want an error and no runner", err, s.Runners())
	}
	s.Inject(ghsim.Fault{Match: "POST " + jit, Times: 1, Drop: ghsim.DropAfter})
	if _, _, err := api.try("POST", jit, body); err == nil || len(s.Runners()) != 1 {
		t.Errorf("dropped after: %v, %+v, want an error and one runner", err, s.Runners())
	}
	api.do("POST", jit, body, 409, nil)
	s.SetRateLimit(1, time.Minute)
	api.do("GET", runners, nil, 200, nil)
	if header := api.do("GET", runners, nil, 403, nil); header.Get("X-RateLimit-Remaining") != "0" || header.Get("X-RateLimit-Reset") == "" {
		t.Errorf("headers %v, want X-RateLimit-Remaining 0 and a reset", header)
	}
	var dropped int
	for _, r := range s.Requests() {
		if r.Status == 0 && r.Fault && r.Method == http.MethodPost {
			dropped++
		}
	}
	if dropped != 2 {
		t.Errorf("%d dropped requests on record, want 2", dropped)
	}
}

func TestJobsByREST(t *testing.T) {
	s := start(t, ghsim.Options{})
	id := queue(t, s, "jobs: {build: {runs-on: linux, steps: [{run: 'true'}]}}")
	api := client(t, s, s.ClassicToken(0, "repo"))
	var job struct {
		Status, Conclusion string
		HTMLURL            string `json:"html_url"`
	}
	if api.do("GET", fmt.Sprintf("/repos/acme/api/actions/jobs/%d", id), nil, 200, &job); job.Status != "queued" || !strings.HasPrefix(job.HTMLURL, s.URL+"/acme/api/actions/runs/") {
		t.Errorf("got %+v, want queued, with a page of acme/api", job)
	}
	s.Cancel(id)
	if api.do("GET", fmt.Sprintf("/repos/acme/api/actions/jobs/%d", id), nil, 200, &job); job.Status != "completed" || job.Conclusion != "cancelled" {
		t.Errorf("got %+v, want completed and cancelled", job)
	}
	var runs struct {
		Runs []struct{ ID int64 } `json:"workflow_runs"`
	}
	if api.do("GET", "/repos/acme/api/actions/runs?status=completed", nil, 200, &runs); len(runs.Runs) != 1 {
		t.Fatalf("got %+v, want one run", runs)
	}
	var jobs struct{ Jobs []struct{ ID int64 } }
	if api.do("GET", fmt.Sprintf("/repos/acme/api/actions/runs/%d/jobs", runs.Runs[0].ID), nil, 200, &jobs); len(jobs.Jobs) != 1 || jobs.Jobs[0].ID != id {
		t.Errorf("got %+v, want job %d alone", jobs, id)
	}
}

func TestParseJobs(t *testing.T) {
	jobs, err := ghsim.ParseJobs([]byte(`
name: ci
on: push
env: {A: "1", B: "1"}
jobs:
  z: {runs-on: linux, steps: [{run: "true"}]}
  a:
    name: named
    runs-on: [self-hosted, big]
    env: {B: "2"}
    container: {image: tools, options: --cpus 1}
    steps: [{name: x, run: "true", if: always(), shell: sh}]
`))
	if err != nil || len(jobs) != 2 || jobs[0].Name != "z" || jobs[1].Name != "named" || jobs[1].Env["A"]+jobs[1].Env["B"] != "12" || jobs[1].Container.Image != "tools" || len(jobs[1].RunsOn) != 2 {
		t.Errorf("got %+v, %v, want z, and named with its env, the container tools and 2 labels", jobs, err)
	}
	for text, says := range map[string]string{
		"jobs: {}": "no jobs",
		"jobs: {a: {runs-on: linux, steps: [{uses: checkout}]}}":                           "neither ./FOLDER",
		"jobs: {a: {runs-on: linux, steps: [{uses: ./a, run: 'true'}]}}":                   "either run or uses",
		"jobs: {a: {runs-on: linux, steps: [{run: 'echo ${{ x }'}]}}":                      "not closed",
		"jobs: {a: {runs-on: '${{ inputs.on }}', steps: [{run: 'true'}]}}":                 "matrix.NAME",
		"jobs: {a: {runs-on: linux, needs: b, steps: [{run: 'true'}]}}":                    "needs",
		"jobs: {a: {runs-on: linux, steps: [{id: a, run: 'true'}, {id: a, run: 'true'}]}}": "taken",
		"jobs: {a: {steps: [{run: 'true'}]}}":                                              "runs-on",
		"jobs: {a: {runs-on: linux, steps: []}}":                                           "no steps",
		"jobs: {a: {runs-on: linux, steps: [{run: 'true', shell: python}]}}":               "python",
	} {
		if _, err := ghsim.ParseJobs([]byte(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", text, err, says)
		}
	}
}

func TestOlderServerHasNoJIT(t *testing.T) {
	for version, status := range map[string]int{"3.9.12": 404, "3.10.0": 201, "4.0.0": 201, "": 201} {
		s := start(t, ghsim.Options{Version: version})
		api := client(t, s, s.ClassicToken(0, "repo"))
		api.do("POST", "/repos/acme/api/actions/runners/generate-jitconfig", map[string]any{"name": "one", "runner_group_id": 1, "labels": []string{"self-hosted"}}, status, nil)
	}
}

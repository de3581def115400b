//go:build linux

package ghsim_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/golang-jwt/jwt/v4"

	"github.com/runnerctl/runnerctl/internal/ghsim"
)

// request is one of GitHub's runner, as its source has it.
type request struct {
	call   string // METHOD ADDRESS; {broker}, {run}, {results} and the names below are filled in
	as     string // runner or job: whose token
	body   string // as JSON; "" for none
	source string // in actions/runner at 258d6c8, below src/
	keep   string // NAME=FIELD of the answer, for later requests
}

const brokerQuery = "sessionId={session}&status=Online&runnerVersion=2.336.0&os=Linux&architecture=X64"

// transcript is a job of one step with a summary, request by request, as the unmodified
// listener and worker send it; a field has the value of the source where that matters.
var transcript = []request{
	{"POST {broker}session", "runner", `{"sessionId":"00000000-0000-0000-0000-000000000000","ownerName":"host (PID: 7)","agent":{"id":{id},"name":"one","version":"2.336.0","osDescription":"Debian GNU/Linux 13 (trixie)","ephemeral":null,"status":0,"provisioningState":null},"useFipsEncryption":false}`,
		"Sdk/WebApi/WebApi/BrokerHttpClient.cs:138-167, Runner.Listener/BrokerMessageListener.cs:98-107", "session=sessionId"},
	{"GET {broker}message?" + brokerQuery + "&disableUpdate=true", "runner", "", "Sdk/WebApi/WebApi/BrokerHttpClient.cs:59-136", "message=body"},
	{"POST {broker}acknowledge?" + brokerQuery, "runner", `{"runnerRequestId":"{request}"}`, "Sdk/WebApi/WebApi/BrokerHttpClient.cs:187-236", ""},
	{"POST {run}acquirejob", "runner", `{"jobMessageId":"{request}","runnerOS":"Linux","billingOwnerId":"U_1"}`, "Sdk/RSWebApi/RunServiceHttpClient.cs:70-98", "acquired="},
	{"POST {run}renewjob", "job", `{"planId":"{plan}","jobId":"{job}"}`, "Sdk/RSWebApi/RunServiceHttpClient.cs:184-210", ""},
	{"GET {broker}message?" + strings.Replace(brokerQuery, "Online", "Busy", 1) + "&disableUpdate=true", "runner", "", "Runner.Listener/BrokerMessageListener.cs:261-313", ""},
	{"POST {results}twirp/github.actions.results.api.v1.WorkflowStepUpdateService/WorkflowStepsUpdate", "job",
		`{"steps":[{"external_id":"{step}","number":1,"name":"Run true","status":3,"started_at":"2026-01-02T03:04:05.000Z","completed_at":null,"conclusion":0},{"external_id":"5ff4ee55-0000-0000-0000-000000000000","number":2,"name":"Complete job","status":5,"started_at":null,"completed_at":null,"conclusion":0}],"change_order":1,"workflow_job_run_backend_id":"{job}","workflow_run_backend_id":"{plan}"}`,
		"Sdk/WebApi/WebApi/ResultsHttpClient.cs:584-601", ""},
	{"POST {results}twirp/results.services.receiver.Receiver/GetStepSummarySignedBlobURL", "job", `{"workflow_job_run_backend_id":"{job}","workflow_run_backend_id":"{plan}","step_backend_id":"{step}"}`,
		"Sdk/WebApi/WebApi/ResultsHttpClient.cs:57-69", "blob=summary_url"},
	{"PUT {blob} BlockBlob", "", "# summary", "Sdk/WebApi/WebApi/ResultsHttpClient.cs:226-289", ""},
	{"POST {results}twirp/results.services.receiver.Receiver/CreateStepSummaryMetadata", "job", `{"step_backend_id":"{step}","workflow_run_backend_id":"{plan}","workflow_job_run_backend_id":"{job}","size":9,"uploaded_at":"2026-01-02T03:04:05.000Z"}`,
		"Sdk/WebApi/WebApi/ResultsHttpClient.cs:134-148", ""},
	{"POST {results}twirp/results.services.receiver.Receiver/GetStepLogsSignedBlobURL", "job", `{"workflow_job_run_backend_id":"{job}","workflow_run_backend_id":"{plan}","step_backend_id":"{step}"}`,
		"Sdk/WebApi/WebApi/ResultsHttpClient.cs:71-83", "blob=logs_url"},
	{"PUT {blob} BlockBlob", "", "2026-01-02T03:04:05.0000000Z true\n", "Sdk/WebApi/WebApi/ResultsHttpClient.cs:424-434", ""},
	{"POST {results}twirp/results.services.receiver.Receiver/CreateStepLogsMetadata", "job", `{"workflow_run_backend_id":"{plan}","workflow_job_run_backend_id":"{job}","step_backend_id":"{step}","uploaded_at":"2026-01-02T03:04:05.000Z","line_count":1}`,
		"Sdk/WebApi/WebApi/ResultsHttpClient.cs:150-164", ""},
	{"POST {results}twirp/results.services.receiver.Receiver/GetJobLogsSignedBlobURL", "job", `{"workflow_job_run_backend_id":"{job}","workflow_run_backend_id":"{plan}"}`,
		"Sdk/WebApi/WebApi/ResultsHttpClient.cs:98-109", "blob=logs_url"},
	{"PUT {blob} AppendBlob", "", "", "Sdk/WebApi/WebApi/ResultsHttpClient.cs:291-352", ""},
	{"PUT {blob}&comp=appendblock", "", "2026-01-02T03:04:05.0000000Z one\n", "Sdk/WebApi/WebApi/ResultsHttpClient.cs:354-395", ""},
	{"PUT {blob}&comp=appendblock&seal=true", "", "2026-01-02T03:04:05.0000000Z two\n", "Sdk/WebApi/WebApi/ResultsHttpClient.cs:374", ""},
	{"POST {results}twirp/results.services.receiver.Receiver/CreateJobLogsMetadata", "job", `{"workflow_run_backend_id":"{plan}","workflow_job_run_backend_id":"{job}","uploaded_at":"2026-01-02T03:04:05.000Z","line_count":2}`,
		"Sdk/WebApi/WebApi/ResultsHttpClient.cs:166-179", ""},
	{"POST {results}twirp/github.actions.results.api.v1.WorkflowStepUpdateService/WorkflowStepsUpdate", "job",
		`{"steps":[{"external_id":"{step}","number":1,"name":"Run true","status":6,"started_at":"2026-01-02T03:04:05.000Z","completed_at":"2026-01-02T03:04:06.000Z","conclusion":2}],"change_order":2,"workflow_job_run_backend_id":"{job}","workflow_run_backend_id":"{plan}"}`,
		"Sdk/WebApi/WebApi/Contracts.cs:150-207", ""},
	{"POST {run}completejob", "job",
		`{"planId":"{plan}","jobId":"{job}","conclusion":"succeeded","outputs":{},"stepResults":[{"external_id":"{step}","number":1,"name":"Run true","type":"run","status":"completed","conclusion":"succeeded","started_at":"2026-01-02T03:04:05Z","completed_at":"2026-01-02T03:04:06Z","completed_log_lines":1,"annotations":[]}],"annotations":[],"billingOwnerId":"U_1"}`,
		"Sdk/RSWebApi/RunServiceHttpClient.cs:123-163, Runner.Worker/JobRunner.cs:290-360", ""},
}

// player sends requests and keeps parts of their answers.
type player struct {
	t      *testing.T
	s      *ghsim.Server
	l      *listener
	names  map[string]string
	tokens map[string]string
}

func newPlayer(t *testing.T, s *ghsim.Server, name string) *player {
	l := newListener(t, mint(t, s, "repos/acme/api", name, "linux"))
	if status, said := l.exchange(l.assertion(jwt.SigningMethodPS256, l.key, l.claims())); status != 200 {
		t.Fatalf("%d %s, want 200", status, said)
	}
	encoded, _ := json.Marshal(l.id)
	return &player{t: t, s: s, l: l, names: map[string]string{"broker": l.broker, "id": string(encoded), "results": s.RunnerURL + "/"}, tokens: map[string]string{"runner": l.token}}
}

func (p *player) fill(text string) string {
	for name, value := range p.names {
		text = strings.ReplaceAll(text, "{"+name+"}", value)
	}
	return text
}

// send gives the answer's status and content.
func (p *player) send(r request) (int, []byte) {
	p.t.Helper()
	parts := strings.Fields(p.fill(r.call))
	sent, err := http.NewRequestWithContext(p.t.Context(), parts[0], parts[1], strings.NewReader(p.fill(r.body)))
	if err != nil {
		p.t.Fatal(err)
	}
	if len(parts) > 2 {
		sent.Header.Set("x-ms-blob-type", parts[2])
	}
	if r.as != "" {
		sent.Header.Set("Authorization", "Bearer "+p.tokens[r.as])
	}
	response, err := http.DefaultClient.Do(sent)
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return response.StatusCode, content
}

// keep takes values for later requests out of an answer.
func (p *player) keep(r request, content []byte) {
	p.t.Helper()
	name, field, wanted := strings.Cut(r.keep, "=")
	if !wanted {
		return
	}
	var answer map[string]any
	if err := json.Unmarshal(content, &answer); err != nil {
		p.t.Fatalf("%s: %v: %s", r.call, err, content)
	}
	p.names[name], _ = answer[field].(string)
	switch name {
	case "message":
		var ref ref
		if err := json.Unmarshal([]byte(p.names[name]), &ref); err != nil {
			p.t.Fatal(err)
		}
		p.names["request"], p.names["run"] = ref.Request, ref.Service
	case "acquired":
		p.acquired(content)
	}
}

// acquired reads the job's message as GitHub's listener and worker do before its first
// step.
func (p *player) acquired(content []byte) {
	p.t.Helper()
	var job struct {
		MessageType, JobID string
		Plan               struct{ PlanID string }
		Timeline           *struct{ ID string }
		Steps              []struct{ ID string }
		Variables          map[string]struct{ Value string }
		Resources          struct {
			Endpoints []struct {
				Name, URL     string
				Authorization struct{ Parameters struct{ AccessToken string } }
				Data          map[string]string
			}
		}
	}
	if err := json.Unmarshal(content, &job); err != nil {
		p.t.Fatal(err)
	}
	connection := job.Resources.Endpoints[0]
	p.names["plan"], p.names["job"], p.names["step"] = job.Plan.PlanID, job.JobID, job.Steps[0].ID
	p.tokens["job"] = connection.Authorization.Parameters.AccessToken
	// Runner.Listener/JobDispatcher.cs:106-123: a token that is not a JSON web token throws.
	var claims jwt.MapClaims
	token, _, err := jwt.NewParser().ParseUnverified(p.tokens["job"], &claims)
	if err != nil {
		p.t.Fatalf("the job's token: %v", err)
	}
	for _, name := range []string{"orch_id", "scp", "ac", "nbf", "exp"} {
		if claims[name] == nil {
			p.t.Errorf("the job's token has no %s: %v", name, claims)
		}
	}
	if token.Header["alg"] == nil || !strings.Contains(claims["scp"].(string), "Actions.Results:"+p.names["plan"]+":"+p.names["job"]) {
		p.t.Errorf("the job's token: %v %v, want an algorithm, and the scope of its plan and job", token.Header, claims)
	}
	// Runner.Worker/JobRunner.cs:64-86, Runner.Common/JobServerQueue.cs:113-140.
	if connection.Name != "SystemVssConnection" || connection.URL != p.names["run"] || job.Timeline == nil || job.MessageType != "RunnerJobRequest" {
		p.t.Errorf("got %+v, want a RunnerJobRequest with a timeline, and SystemVssConnection at its run", job)
	}
	if feed := connection.Data["FeedStreamUrl"]; !strings.HasPrefix(feed, "ws://") {
		p.t.Errorf("a live log at %s, want ws://", feed)
	}
	for _, name := range []string{"system.github.launch_endpoint", "system.github.results_endpoint", "system.orchestrationId", "system.github.token", "system.github.job"} {
		if job.Variables[name].Value == "" {
			p.t.Errorf("no variable %s", name)
		}
	}
	p.names["feed"], p.names["launch"] = connection.Data["FeedStreamUrl"], job.Variables["system.github.launch_endpoint"].Value
}

func (p *player) refused() (all []string) {
	for _, one := range p.s.Requests() {
		if one.Refused != "" {
			all = append(all, one.Method+" "+one.Path+": "+one.Refused)
		}
	}
	return all
}

// Each request of a job as GitHub's program sends it is accepted, in order, up to the
// job's end; so are its live log and its asking for actions.
func TestTranscriptOfGitHubsRunner(t *testing.T) {
	s := start(t, ghsim.Options{PollTimeout: 100 * time.Millisecond})
	p := newPlayer(t, s, "one")
	id := queue(t, s, smallJob)
	for _, r := range transcript {
		status, content := p.send(r)
		if status/100 != 2 {
			t.Fatalf("%s (%s): %d %s, want a status of 2xx", p.fill(r.call), r.source, status, content)
		}
		if strings.Contains(r.call, "Busy") && status != http.StatusAccepted {
			t.Errorf("%s: %d %s, want %d", r.call, status, content, http.StatusAccepted)
		}
		p.keep(r, content)
		if r.keep == "acquired=" {
			p.feeds()
		}
	}
	if refused := p.refused(); len(refused) > 0 {
		t.Errorf("refused: %v, want none", refused)
	}
	result := wait(t, s, id)
	step := stepOf(t, result, "Run true")
	if result.Conclusion != "success" || step.Conclusion != "success" || step.Summary != "# summary" || !strings.Contains(step.Log, "true") || !strings.Contains(result.Log, "one\n") ||
		!strings.Contains(result.Log, "two\n") || !slices.Equal(result.Live, []string{"live line"}) || result.FirstStep.IsZero() {
		t.Errorf("got %+v, want success, with the summary, both lines of the log, and the live line", result)
	}
	// The runner is gone; the poll of a worker that still ends gets no answer.
	for deadline := time.Now().Add(5 * time.Second); len(s.Runners()) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("an ephemeral runner stays")
		}
	}
	for status, want := range map[string]int{"Busy": 202, "Online": 404} {
		if got, content := p.send(request{call: "GET {broker}message?" + strings.Replace(brokerQuery, "Online", status, 1) + "&disableUpdate=true", as: "runner"}); got != want || want == 404 && !strings.Contains(string(content), `"RunnerNotFound"`) {
			t.Errorf("%s: %d %s, want %d", status, got, content, want)
		}
	}
}

// feeds writes to the live log in two frames, as Runner.Common/ResultsServer.cs:237-258
// does with more than 1024 bytes.
func (p *player) feeds() {
	p.t.Helper()
	socket, _, err := websocket.Dial(p.t.Context(), p.names["feed"], &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + p.tokens["job"]}}}) //nolint:bodyclose // it is the socket's
	if err != nil {
		p.t.Fatal(err)
	}
	writer, err := socket.Writer(p.t.Context(), websocket.MessageText)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, frame := range []string{`{"count":1,"value":["live`, ` line"],"stepId":"` + p.names["step"] + `","startLine":1}`} {
		if _, err := io.WriteString(writer, frame); err != nil {
			p.t.Fatal(err)
		}
	}
	if err := writer.Close(); err != nil {
		p.t.Fatal(err)
	}
	if err := socket.Close(websocket.StatusNormalClosure, "Closing websocket"); err != nil {
		p.t.Fatal(err)
	}
	actions := request{call: "POST {launch}actions/build/{plan}/jobs/{job}/runnerresolve/actions", as: "job", body: `{"actions":[{"action":"actions/checkout","version":"v4","path":""}]}`}
	if status, content := p.send(actions); status != 422 || !strings.Contains(string(content), "actions/checkout@v4") {
		p.t.Errorf("an action of another repository: %d %s, want 422 and its name", status, content)
	}
}

// Any difference is refused, and the record names it: a missing field, an extra field, a
// query without a part, an unknown status number.
func TestTranscriptIsHeldStrictly(t *testing.T) {
	s := start(t, ghsim.Options{PollTimeout: 100 * time.Millisecond})
	p := newPlayer(t, s, "one")
	id := queue(t, s, smallJob)
	refuses := func(r request, why string) {
		t.Helper()
		before := len(p.refused())
		status, content := p.send(r)
		refused := p.refused()
		if status/100 != 4 || len(refused) != before+1 || !strings.Contains(refused[len(refused)-1], why) {
			t.Errorf("%s %s: %d %s, want a refusal with %q, have %v", r.call, r.body, status, content, why, refused[min(before, len(refused)):])
		}
	}
	changed := 0
	for _, r := range transcript {
		if r.as != "" && r.body != "" {
			var fields map[string]json.RawMessage
			if err := json.Unmarshal([]byte(strings.ReplaceAll(r.body, "{id}", "1")), &fields); err != nil {
				t.Fatalf("%s: %v", r.body, err)
			}
			for name := range fields {
				if slices.Contains([]string{"billingOwnerId", "outputs", "stepResults", "annotations"}, name) {
					continue // EmitDefaultValue = false
				}
				without := r
				less := map[string]json.RawMessage{}
				for other, value := range fields {
					if other != name {
						less[other] = value
					}
				}
				encoded, err := json.Marshal(less)
				if err != nil {
					t.Fatal(err)
				}
				without.body = string(encoded)
				refuses(without, name+" is missing")
				changed++
			}
			more := r
			more.body = strings.Replace(r.body, "{", `{"invented":1,`, 1)
			refuses(more, "invented")
		}
		if address, query, is := strings.Cut(r.call, "?"); is && r.as == "runner" {
			for _, part := range strings.Split(query, "&") {
				less := r
				less.call = address + "?" + strings.Trim(strings.Replace("&"+query, "&"+part, "", 1), "&")
				name, _, _ := strings.Cut(part, "=")
				refuses(less, name+" is missing in the query")
			}
		}
		status, content := p.send(r)
		if status/100 != 2 {
			t.Fatalf("%s: %d %s, want a status of 2xx", r.call, status, content)
		}
		p.keep(r, content)
		if r.keep == "acquired=" {
			refuses(request{call: "POST {results}twirp/github.actions.results.api.v1.WorkflowStepUpdateService/WorkflowStepsUpdate", as: "job",
				body: `{"steps":[{"external_id":"{step}","number":1,"name":"x","status":1,"conclusion":0}],"change_order":1,"workflow_job_run_backend_id":"{job}","workflow_run_backend_id":"{plan}"}`}, "status 1")
			refuses(request{call: "POST {results}twirp/results.services.receiver.Receiver/Invented", as: "job", body: "{}"}, "no method")
		}
	}
	if changed < 40 || wait(t, s, id).Conclusion != "success" {
		t.Errorf("%d fields were left out, want 40 at least; %+v, want success", changed, wait(t, s, id))
	}
}

// Our agent sends nothing else either, in the same order.
func TestAgentKeepsToTheTranscript(t *testing.T) {
	s := start(t, ghsim.Options{})
	a := startJIT(t, mint(t, s, "repos/acme/api", "ours", "linux").Encoded)
	id := queue(t, s, `jobs: {build: {runs-on: linux, steps: [{run: 'echo "# summary" >>$GITHUB_STEP_SUMMARY; echo hello'}, {run: 'false', continue-on-error: true}]}}`)
	if result := wait(t, s, id); result.Conclusion != "success" {
		t.Errorf("got %+v, want success", result)
	}
	if code := exit(t, a); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	var order []string
	for _, one := range s.Requests() {
		if one.Refused != "" {
			t.Errorf("%s %s: %s, want it not refused", one.Method, one.Path, one.Refused)
		}
		last := one.Path[strings.LastIndex(one.Path, "/")+1:]
		if name := one.Method + " " + last; slices.Contains([]string{"POST session", "POST acknowledge", "POST acquirejob", "POST renewjob", "POST completejob", "DELETE session"}, name) {
			order = append(order, name)
		}
	}
	if want := []string{"POST session", "POST acknowledge", "POST acquirejob", "POST renewjob", "POST completejob", "DELETE session"}; !slices.Equal(order, want) {
		t.Errorf("got %v, want %v", order, want)
	}
}

// Artifacts as actions/upload-artifact@v4 and download-artifact@v4 make and take them.
func TestArtifacts(t *testing.T) {
	s := start(t, ghsim.Options{PollTimeout: 100 * time.Millisecond})
	p := newPlayer(t, s, "one")
	id := queue(t, s, smallJob)
	for _, r := range transcript[:4] {
		_, content := p.send(r)
		p.keep(r, content)
	}
	ref := `"workflow_run_backend_id":"{plan}","workflow_job_run_backend_id":"{job}"`
	ask := func(method, body string, want int) []byte {
		t.Helper()
		r := request{call: "POST {results}twirp/github.actions.results.api.v1.ArtifactService/" + method, as: "job", body: "{" + ref + body + "}"}
		status, content := p.send(r)
		if status != want {
			t.Fatalf("%s: %d %s, want %d", method, status, content, want)
		}
		return content
	}
	create := `,"name":"report","version":7,"expires_at":"2027-01-01T00:00:00Z","mime_type":"application/zip"`
	p.keep(request{keep: "blob=signed_upload_url"}, ask("CreateArtifact", create, 200))
	ask("CreateArtifact", create, 409)
	ask("CreateArtifact", `,"name":"a/b","version":4`, 400)
	ask("CreateArtifact", `,"name":"old","version":3`, 400)
	ask("GetSignedArtifactURL", `,"name":"report"`, 404)
	for block, content := range map[string]string{"QQ==": "two", "Qg==": "one"} {
		if status, said := p.send(request{call: "PUT {blob}&comp=block&blockid=" + block, body: content}); status != 201 {
			t.Fatalf("%d %s, want 201", status, said)
		}
	}
	if status, _ := p.send(request{call: "PUT {blob}&comp=blocklist", body: "<BlockList><Latest>Qw==</Latest></BlockList>"}); status != 400 {
		t.Errorf("a block that was never sent: %d, want 400", status)
	}
	if status, _ := p.send(request{call: "PUT {blob}&comp=blocklist", body: `<?xml version="1.0" encoding="utf-8"?><BlockList><Latest>Qg==</Latest><Latest>QQ==</Latest></BlockList>`}); status != 201 {
		t.Fatalf("status %d, want 201", status)
	}
	ask("FinalizeArtifact", `,"name":"report","size":"7"`, 400)
	ask("FinalizeArtifact", `,"name":"report","size":"6","hash":"sha256:00"`, 200)
	if list := string(ask("ListArtifacts", `,"name_filter":"report"`, 200)); !strings.Contains(list, `"size":"6"`) || !strings.Contains(list, `"digest":"sha256:00"`) {
		t.Errorf("got %s, want size 6 and digest sha256:00", list)
	}
	if list := string(ask("ListArtifacts", `,"name_filter":"other"`, 200)); strings.Contains(list, "report") {
		t.Errorf("got %s, want no report", list)
	}
	p.keep(request{keep: "blob=signed_url"}, ask("GetSignedArtifactURL", `,"name":"report"`, 200))
	if status, content := p.send(request{call: "GET {blob}"}); status != 200 || string(content) != "onetwo" {
		t.Errorf("%d %q, want 200 %q", status, content, "onetwo")
	}
	if status, _ := p.send(request{call: "GET " + strings.Split(p.names["blob"], "?")[0] + "?sig=guess"}); status != 403 {
		t.Errorf("status %d, want 403", status)
	}
	if result, _ := s.Result(id); string(result.Artifacts["report"]) != "onetwo" {
		t.Errorf("artifacts %q, want onetwo as report", result.Artifacts)
	}
	ask("DeleteArtifact", `,"name":"report"`, 200)
	ask("GetSignedArtifactURL", `,"name":"report"`, 404)
	cache := request{call: "POST {results}twirp/github.actions.results.api.v1.CacheService/CreateCacheEntry", as: "job", body: "{}"}
	if status, content := p.send(cache); status != 501 || !strings.Contains(string(content), "keeps no caches") {
		t.Errorf("%d %s, want 501 %q", status, content, "keeps no caches")
	}
	if status, content := p.send(request{call: "GET {results}_apis/artifactcache/cache", as: "job"}); status != 422 || !strings.Contains(string(content), "legacy service") {
		t.Errorf("%d %s, want 422 %q", status, content, "legacy service")
	}
}

// A job asks for its identity where its permissions let it.
func TestIdentityOfJob(t *testing.T) {
	s := start(t, ghsim.Options{PollTimeout: 100 * time.Millisecond})
	jobs := map[string]bool{smallJob: false, strings.Replace(smallJob, "{runs-on", "{permissions: {id-token: write}, runs-on", 1): true}
	for workflow, may := range jobs {
		p := newPlayer(t, s, map[bool]string{true: "one", false: "none"}[may])
		p.names["id"] = ""
		queue(t, s, workflow)
		session := transcript[0]
		encoded, _ := json.Marshal(p.l.id)
		session.body = strings.NewReplacer("{id}", string(encoded), `"one"`, `"`+p.l.name+`"`).Replace(session.body)
		var message []byte
		for _, r := range append([]request{session}, transcript[1:4]...) {
			_, message = p.send(r)
			p.keep(r, message)
		}
		var job struct {
			Resources struct {
				Endpoints []struct{ Data map[string]string }
			}
		}
		if err := json.Unmarshal(message, &job); err != nil {
			t.Fatal(err)
		}
		address := job.Resources.Endpoints[0].Data["GenerateIdTokenUrl"]
		if may != (address != "") {
			t.Fatalf("%s: an address for identities: %q, want one: %t", workflow, address, may)
		}
		if !may {
			continue
		}
		status, content := p.send(request{call: "GET " + address + "&audience=vault", as: "job"})
		var answer struct{ Value string }
		if err := json.Unmarshal(content, &answer); err != nil || status != 200 {
			t.Fatalf("%d %s, want 200 and an identity", status, content)
		}
		var claims jwt.MapClaims
		if _, _, err := jwt.NewParser().ParseUnverified(answer.Value, &claims); err != nil || claims["aud"] != "vault" || claims["sub"] != "repo:acme/api:ref:refs/heads/main" {
			t.Errorf("claims %v, %v, want the audience vault and the subject repo:acme/api:ref:refs/heads/main", claims, err)
		}
	}
}

// GitHub's orders between jobs.
func TestOrders(t *testing.T) {
	s := start(t, ghsim.Options{PollTimeout: 200 * time.Millisecond})
	a := startJIT(t, mint(t, s, "repos/acme/api", "ours", "linux").Encoded)
	online(t, s, 1)
	for _, err := range []error{s.RefreshToken("ours"), s.RefreshConfig("ours", "runner"), s.RefreshConfig("ours", "credentials")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	asked := func(path string) (times int) {
		for _, one := range s.Requests() {
			if one.Path == path && one.Status == 200 {
				times++
			}
		}
		return times
	}
	for deadline := time.Now().Add(10 * time.Second); asked("/oauth/token") != 2 || asked("/config/runner") != 1 || asked("/config/credentials") != 1; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d tokens, %d settings", asked("/oauth/token"), asked("/config/runner"))
		}
	}
	if result := wait(t, s, queue(t, s, smallJob)); result.Conclusion != "success" {
		t.Errorf("got %+v, want success", result)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if code := exit(t, a); code != 0 || ctx.Err() != nil {
		t.Errorf("exit code %d, want 0, in time", code)
	}
	if err := s.RefreshToken("nobody"); err == nil {
		t.Error("an order reaches nobody, want an error")
	}
}

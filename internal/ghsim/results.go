package ghsim

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/coder/websocket"
)

// resultsURL is at the root, because actions use only its origin (actions/toolkit,
// packages/artifact/src/internal/shared/config.ts).
func (s *Server) resultsURL() string { return s.RunnerURL + "/" }

// Numbers of the results service (Sdk/WebApi/WebApi/Contracts.cs:192-207).
var (
	stepStatus     = map[int]string{3: running, 5: "pending", 6: completed}
	stepConclusion = map[int]string{0: "", 2: "success", 3: "failure", 4: "cancelled", 7: "skipped"}
)

// The services that jobs call.
const (
	receiver  = "results.services.receiver.Receiver/"
	stepsOf   = "github.actions.results.api.v1.WorkflowStepUpdateService/"
	artifacts = "github.actions.results.api.v1.ArtifactService/"
	caches    = "github.actions.results.api.v1.CacheService/"
)

// twirp serves the results service: states of steps, and addresses for logs and artifacts.
func (s *Server) twirp(w http.ResponseWriter, r *http.Request, j *job) {
	text, err := io.ReadAll(io.LimitReader(r.Body, 1<<22))
	if err != nil {
		refuse(w, r, http.StatusBadRequest, "the body: "+err.Error())
		return
	}
	call := twirpCall{server: s, job: j, w: w, r: r, text: text}
	s.mu.Lock()
	defer s.mu.Unlock()
	name := r.PathValue("service") + "/" + r.PathValue("method")
	if handle := twirpMethods[name]; handle != nil {
		handle(&call)
		return
	}
	if method, cache := strings.CutPrefix(name, caches); cache {
		twirpError(w, http.StatusNotImplemented, "unimplemented", method+": this stand-in keeps no caches")
		return
	}
	refuse(w, r, http.StatusNotFound, "no method "+name)
}

// twirpCall is one call. Callers of its methods must hold the server's lock.
type twirpCall struct {
	server *Server
	job    *job
	w      http.ResponseWriter
	r      *http.Request
	text   []byte
}

var twirpMethods = map[string]func(*twirpCall){
	receiver + "GetStepLogsSignedBlobURL": func(c *twirpCall) {
		if of := new(stepRef); c.read(of) {
			c.place("logs_url", &c.job.stepOf(of.Step).logs)
		}
	},
	receiver + "GetStepSummarySignedBlobURL": func(c *twirpCall) {
		if of := new(stepRef); c.read(of) {
			c.place("summary_url", &c.job.stepOf(of.Step).summary)
		}
	},
	receiver + "GetJobLogsSignedBlobURL": func(c *twirpCall) {
		if c.read(new(jobRef)) {
			c.place("logs_url", &c.job.logs)
		}
	},
	receiver + "GetJobDiagLogsSignedBlobURL": func(c *twirpCall) {
		if c.read(new(jobRef)) {
			c.place("diag_logs_url", &c.job.diagnostics)
		}
	},
	receiver + "CreateStepLogsMetadata":    func(c *twirpCall) { c.taken(new(uploadedStepLog)) },
	receiver + "CreateJobLogsMetadata":     func(c *twirpCall) { c.taken(new(uploadedJobLog)) },
	receiver + "CreateStepSummaryMetadata": func(c *twirpCall) { c.taken(new(uploadedSummary)) },
	stepsOf + "WorkflowStepsUpdate":        (*twirpCall).updateSteps,
	artifacts + "CreateArtifact":           (*twirpCall).createArtifact,
	artifacts + "FinalizeArtifact":         (*twirpCall).finalizeArtifact,
	artifacts + "ListArtifacts":            (*twirpCall).listArtifacts,
	artifacts + "GetSignedArtifactURL":     (*twirpCall).signArtifact,
	artifacts + "DeleteArtifact":           (*twirpCall).deleteArtifact,
}

func twirpError(w http.ResponseWriter, status int, code, message string) {
	writeJSON(w, status, map[string]string{"code": code, "msg": message})
}

// read decodes a call strictly, and refuses a call for another job.
func (c *twirpCall) read(into interface{ ref() jobRef }) bool {
	if err := strict(c.text, into); err != nil {
		refuse(c.w, c.r, http.StatusBadRequest, "the body: "+err.Error())
		return false
	}
	if of := into.ref(); of.Run != c.job.planID || of.Job != c.job.uuid {
		twirpError(c.w, http.StatusForbidden, "permission_denied", "another job's")
		return false
	}
	return true
}

func (c *twirpCall) answer(body any) { writeJSON(c.w, http.StatusOK, body) }

// place answers with a signed address for a blob, which it makes at the first call.
func (c *twirpCall) place(kind string, b **blob) {
	if *b == nil {
		*b = c.server.newBlob()
	}
	c.answer(map[string]any{kind: c.server.signedURL(*b), "blob_storage_type": "BLOB_STORAGE_TYPE_AZURE", "soft_size_limit": 1 << 20})
}

func (c *twirpCall) taken(into interface{ ref() jobRef }) {
	if c.read(into) {
		c.answer(map[string]bool{"ok": true})
	}
}

func (c *twirpCall) updateSteps() {
	var asked stepsUpdate
	if !c.read(&asked) {
		return
	}
	j := c.job
	for _, each := range asked.Steps {
		status, known := stepStatus[each.Status]
		conclusion, ended := stepConclusion[each.Conclusion]
		if !known || !ended {
			refuse(c.w, c.r, http.StatusBadRequest, fmt.Sprintf("step %s has status %d and conclusion %d, which GitHub's runner does not send", each.Name, each.Status, each.Conclusion))
			return
		}
		j.tell(step{id: each.ID, number: each.Number, name: each.Name, status: status, conclusion: conclusion, started: each.StartedAt, completed: each.CompletedAt})
	}
	if j.firstStepAt.IsZero() && slices.ContainsFunc(j.steps, func(each *step) bool { return each.ours && (each.status == running || each.started != "") }) {
		j.firstStepAt = c.server.now()
	}
	c.server.announce()
	c.answer(map[string]bool{"ok": true})
}

// stepOf finds a step by its id, or adds it: runners have steps of their own.
func (j *job) stepOf(id string) *step {
	for _, known := range j.steps {
		if known.id == id {
			return known
		}
	}
	made := &step{id: id, status: "pending"}
	j.steps = append(j.steps, made)
	return made
}

// tell stores the state of a step that a runner reports.
func (j *job) tell(of step) {
	known := j.stepOf(of.id)
	known.number, known.status, known.conclusion, known.started, known.completed = of.number, of.status, of.conclusion, of.started, of.completed
	if !known.ours || known.name == "" {
		known.name = of.name
	}
	slices.SortStableFunc(j.steps, func(a, b *step) int { return a.number - b.number })
}

// feed receives the lines of a running job over a web socket.
func (s *Server) feed(w http.ResponseWriter, r *http.Request, j *job) {
	socket, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // Accept has answered
	}
	defer func() { _ = socket.CloseNow() }()
	socket.SetReadLimit(1 << 22)
	for {
		_, text, err := socket.Read(r.Context())
		if err != nil {
			return // the runner has ended the feed
		}
		var lines feedLines
		if err := strict(text, &lines); err != nil {
			_ = socket.Close(websocket.StatusUnsupportedData, "not as GitHub's runner sends it") // the record has the error
			recordOf(r).Refused = "the feed: " + err.Error()
			return
		}
		s.mu.Lock()
		j.live = append(j.live, lines.Value...)
		s.mu.Unlock()
	}
}

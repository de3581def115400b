package ghsim

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"io"
	"net/http"
	"slices"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
)

const blobLimit = 64 << 20

// blob is a file of a job, in what stands for a cloud's storage.
type blob struct {
	id, signature string
	appending     bool
	sealed        bool
	content       bytes.Buffer
}

func (b *blob) text() string {
	if b == nil {
		return ""
	}
	return b.content.String()
}

func (s *Server) resultsURL() string { return s.RunnerURL + "/results/" }

// newBlob and its signed URL, the only right to write it; they need the lock.
func (s *Server) newBlob() *blob {
	made := &blob{id: rand.Text(), signature: rand.Text()}
	s.blobs[made.id] = made
	return made
}

func (s *Server) signedURL(b *blob) string {
	return s.RunnerURL + "/blobs/" + b.id + "?sig=" + b.signature
}

// putBlob takes a whole blob, or makes, extends and seals one that is appended to.
func (s *Server) putBlob(w http.ResponseWriter, r *http.Request) {
	content, err := io.ReadAll(http.MaxBytesReader(w, r.Body, blobLimit))
	if err != nil {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	query, b := r.URL.Query(), s.blobs[r.PathValue("id")]
	switch {
	case b == nil:
		w.WriteHeader(http.StatusNotFound)
	case subtle.ConstantTimeCompare([]byte(query.Get("sig")), []byte(b.signature)) != 1:
		w.WriteHeader(http.StatusForbidden)
	case query.Get("comp") == "" && r.Header.Get("x-ms-blob-type") == "AppendBlob":
		b.appending, b.sealed = true, false
		b.content.Reset()
		w.WriteHeader(http.StatusCreated)
	case query.Get("comp") == "" && r.Header.Get("x-ms-blob-type") == "BlockBlob":
		b.content.Reset()
		b.content.Write(content)
		w.WriteHeader(http.StatusCreated)
	case query.Get("comp") != "appendblock":
		w.WriteHeader(http.StatusBadRequest)
	case !b.appending:
		w.WriteHeader(http.StatusNotFound)
	case b.sealed:
		w.WriteHeader(http.StatusConflict)
	default:
		b.content.Write(content)
		b.sealed = query.Get("seal") == "true"
		w.WriteHeader(http.StatusCreated)
	}
}

// told is a call to the results service.
type told struct {
	Run         string `json:"workflow_run_backend_id"`
	Job         string `json:"workflow_job_run_backend_id"`
	Step        string `json:"step_backend_id"`
	Lines       int64  `json:"line_count"`
	ChangeOrder int64  `json:"change_order"`
	Steps       []struct {
		ID          string `json:"external_id"`
		Number      int    `json:"number"`
		Name        string `json:"name"`
		Status      int    `json:"status"`
		StartedAt   string `json:"started_at"`
		CompletedAt string `json:"completed_at"`
		Conclusion  int    `json:"conclusion"`
	} `json:"steps"`
}

// Numbers of the results service.
var (
	stepStatus     = map[int]string{1: running, 2: "pending", 3: completed}
	stepConclusion = map[int]string{0: "", 2: "success", 3: "failure", 4: "cancelled", 7: "skipped"}
)

// twirp takes what a job tells of its steps, and gives places for logs.
func (s *Server) twirp(w http.ResponseWriter, r *http.Request, j *job) {
	var asked told
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<22)).Decode(&asked); err != nil {
		writeJSON(w, http.StatusBadRequest, map[string]string{"code": "malformed", "msg": err.Error()})
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if asked.Run != j.planID || asked.Job != j.uuid {
		writeJSON(w, http.StatusForbidden, map[string]string{"code": "permission_denied", "msg": "another job's"})
		return
	}
	place := func(kind string, b **blob) {
		if *b == nil {
			*b = s.newBlob()
		}
		writeJSON(w, http.StatusOK, map[string]any{kind: s.signedURL(*b), "blob_storage_type": "BLOB_STORAGE_TYPE_AZURE", "soft_size_limit": 1 << 20})
	}
	switch service, method := r.PathValue("service"), r.PathValue("method"); service + "/" + method {
	case "results.services.receiver.Receiver/GetStepLogsSignedBlobURL":
		place("logs_url", &j.stepOf(asked.Step).logs)
	case "results.services.receiver.Receiver/GetStepSummarySignedBlobURL":
		place("summary_url", &j.stepOf(asked.Step).summary)
	case "results.services.receiver.Receiver/GetJobLogsSignedBlobURL":
		place("logs_url", &j.logs)
	case "results.services.receiver.Receiver/CreateStepLogsMetadata", "results.services.receiver.Receiver/CreateJobLogsMetadata", "results.services.receiver.Receiver/CreateStepSummaryMetadata":
		writeJSON(w, http.StatusOK, map[string]bool{"ok": true})
	case "github.actions.results.api.v1.WorkflowStepUpdateService/WorkflowStepsUpdate":
		for _, each := range asked.Steps {
			j.tell(step{id: each.ID, number: each.Number, name: each.Name, status: stepStatus[each.Status], conclusion: stepConclusion[each.Conclusion], started: each.StartedAt, completed: each.CompletedAt})
		}
		if j.firstStepAt.IsZero() && slices.ContainsFunc(j.steps, func(each *step) bool { return each.ours && (each.status == running || each.started != "") }) {
			j.firstStepAt = s.now()
		}
		s.announce()
		writeJSON(w, http.StatusOK, map[string]bool{"ok": true})
	default:
		writeJSON(w, http.StatusNotFound, map[string]string{"code": "bad_route", "msg": "no handler for " + service + "/" + method})
	}
}

// stepOf finds a step, or makes one of those that runners add.
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

// tell takes what a runner says of a step.
func (j *job) tell(of step) {
	known := j.stepOf(of.id)
	known.number, known.status, known.conclusion, known.started, known.completed = of.number, of.status, of.conclusion, of.started, of.completed
	if !known.ours || known.name == "" {
		known.name = of.name
	}
	slices.SortStableFunc(j.steps, func(a, b *step) int { return a.number - b.number })
}

// feed takes the lines of a running job over a web socket.
func (s *Server) feed(w http.ResponseWriter, r *http.Request, j *job) {
	socket, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // it has answered
	}
	defer socket.CloseNow()
	socket.SetReadLimit(1 << 22)
	for {
		var lines struct{ Value []string }
		if err := wsjson.Read(r.Context(), socket, &lines); err != nil {
			return // the runner's end of the feed
		}
		s.mu.Lock()
		j.live = append(j.live, lines.Value...)
		s.mu.Unlock()
	}
}

package ghsim

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// session is the connected listener of a runner.
type session struct {
	id    string
	owner string
	polls int       // polls that are waiting now
	seen  time.Time // when the last poll ended
}

func (s *Server) brokerURL() string { return s.RunnerURL + "/broker/" }
func (s *Server) runURL() string    { return s.RunnerURL + "/run/" }

// runnerHandler serves the endpoints for runners and their jobs, and the REST API.
func (s *Server) runnerHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /oauth/token", s.oauth)
	mux.HandleFunc("POST /broker/session", s.asRunner(s.createSession))
	mux.HandleFunc("DELETE /broker/session", s.asRunner(s.deleteSession))
	mux.HandleFunc("GET /broker/message", s.asRunner(s.message))
	mux.HandleFunc("POST /broker/acknowledge", s.asRunner(s.acknowledge))
	mux.HandleFunc("POST /config/{kind}", s.asRunner(s.refreshConfig))
	mux.HandleFunc("POST /run/acquirejob", s.asRunner(s.acquireJob))
	mux.HandleFunc("POST /run/renewjob", s.asJob(s.renewJob))
	mux.HandleFunc("POST /run/completejob", s.asJob(s.completeJob))
	mux.HandleFunc("POST /twirp/{service}/{method}", s.asJob(s.twirp))
	mux.HandleFunc("POST /actions/build/{plan}/jobs/{job}/runnerresolve/actions", s.asJob(s.resolveActions))
	mux.HandleFunc("GET /_services/token/.well-known/jwks", s.keys)
	mux.HandleFunc("GET /idtoken/{job}", s.asJob(s.idToken))
	mux.HandleFunc("/_apis/artifactcache/", s.legacyCache)
	mux.HandleFunc("PUT /blobs/{id}", s.putBlob)
	mux.HandleFunc("GET /blobs/{id}", s.getBlob)
	mux.HandleFunc("GET /feed", s.asJob(s.feed))
	mux.Handle("/", s.restHandler())
	return mux
}

// brokerError writes a refusal in the form that actions/runner reads.
func brokerError(w http.ResponseWriter, status int, kind, message string) {
	writeJSON(w, status, map[string]any{"source": "actions-broker-listener", "errorKind": kind, "statusCode": status, "errorMessage": message})
}

// asRunner admits only requests with a registered runner's own token.
func (s *Server) asRunner(do func(http.ResponseWriter, *http.Request, *runner)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		who := s.who(r)
		s.mu.Unlock()
		if who == nil || who.runner == nil {
			w.Header().Set("WWW-Authenticate", "Bearer")
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		recordOf(r).Who = who.name
		do(w, r, who.runner)
	}
}

func (s *Server) createSession(w http.ResponseWriter, r *http.Request, of *runner) {
	var asked sessionRequest
	if !body(w, r, &asked) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.runners[of.id] != of:
		brokerError(w, http.StatusNotFound, "RunnerNotFound", "Runner not found")
	case asked.Agent.ID.String() != strconv.FormatInt(of.id, 10) || asked.Agent.Name != of.name:
		brokerError(w, http.StatusForbidden, "", fmt.Sprintf("the token is of runner %d %s, not of %s %s", of.id, of.name, asked.Agent.ID, asked.Agent.Name))
	case of.session != nil:
		writeJSON(w, http.StatusConflict, map[string]string{
			"typeName": "GitHub.DistributedTask.WebApi.TaskAgentSessionConflictException",
			"message":  fmt.Sprintf("The actions runner %s already has an active session for owner %s.", of.name, of.session.owner),
		})
	default:
		of.session = &session{id: uuid.NewString(), owner: asked.OwnerName, seen: s.now()}
		of.version = asked.Agent.Version
		if strings.Contains(strings.ToLower(asked.Agent.OSDescription), "linux") || asked.Agent.OSDescription == "" {
			of.os = "linux"
		}
		s.announce()
		writeJSON(w, http.StatusOK, map[string]any{
			"sessionId": of.session.id, "ownerName": of.session.owner,
			"agent": map[string]any{"id": of.id, "name": of.name, "version": of.version, "osDescription": asked.Agent.OSDescription},
		})
	}
}

func (s *Server) deleteSession(w http.ResponseWriter, _ *http.Request, of *runner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.runners[of.id] != of { // its registration and its tokens are gone
		w.Header().Set("WWW-Authenticate", "Bearer")
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if of.session == nil {
		brokerError(w, http.StatusNotFound, "RunnerSessionInvalid", "no session")
		return
	}
	of.session = nil
	s.requeueUnacquired(of)
	s.announce()
	w.WriteHeader(http.StatusOK)
}

// expireSessions ends the sessions that no listener polls. The caller must hold s.mu.
func (s *Server) expireSessions() {
	for _, r := range s.runners {
		if r.session != nil && r.session.polls == 0 && s.now().Sub(r.session.seen) > s.options.SessionTimeout {
			r.session = nil
			s.requeueUnacquired(r)
			s.announce()
		}
	}
}

// message is the long poll. It returns an order, a job for this runner, a cancellation of the
// job that the runner has, or nothing after a while.
func (s *Server) message(w http.ResponseWriter, r *http.Request, of *runner) {
	if !queried(w, r, "sessionId", "status", "runnerVersion", "os", "architecture", "disableUpdate") {
		return
	}
	query := r.URL.Query()
	status := query.Get("status")
	if status != "Online" && status != "Busy" {
		refuse(w, r, http.StatusBadRequest, fmt.Sprintf("status %q, which GitHub's runner does not send", status))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.options.PollTimeout)
	defer cancel()
	s.mu.Lock()
	mine := of.session
	if mine != nil && mine.id == query.Get("sessionId") {
		mine.polls++
		defer func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			mine.polls--
			mine.seen = s.now()
		}()
	}
	s.mu.Unlock()
	var reply func()
	err := s.await(ctx, func() bool {
		switch {
		case ctx.Err() != nil: // don't give a job to a client that has hung up
			return true
		case s.runners[of.id] != of && status == "Busy": // a refusal would cancel the worker that is still ending
		case s.runners[of.id] != of:
			reply = func() { brokerError(w, http.StatusNotFound, "RunnerNotFound", "Runner not found") }
		case of.session == nil || of.session.id != query.Get("sessionId"):
			reply = func() { brokerError(w, http.StatusNotFound, "RunnerSessionInvalid", "Invalid session") }
		default:
			if message := s.messageFor(of, status); message != nil {
				reply = func() { writeJSON(w, http.StatusOK, message) }
			}
		}
		return reply != nil
	})
	if err != nil || reply == nil {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	reply()
}

// messageFor returns the next message for a runner, and assigns a job if possible. A job that
// is not acknowledged is sent again. The caller must hold s.mu.
func (s *Server) messageFor(of *runner, status string) any {
	if len(of.messages) > 0 {
		message := of.messages[0]
		of.messages = of.messages[1:]
		return message
	}
	if of.job == nil && !of.lingers() && status == "Online" {
		for _, j := range s.jobs {
			if j.status == queued && j.fits(of) {
				s.assign(j, of)
				break
			}
		}
	}
	switch j := of.job; {
	case j == nil:
		return nil
	case j.status == assigned && !j.acknowledged:
		return map[string]any{"messageId": j.messageID, "messageType": "RunnerJobRequest", "body": jsonText(map[string]any{
			"id": j.requestID, "runner_request_id": j.requestID, "should_acknowledge": true, "run_service_url": s.runURL(), "billing_owner_id": "U_1",
		})}
	case j.status == running && j.cancelled && !j.cancelTold:
		j.cancelTold = true
		return map[string]any{"messageId": s.id(), "messageType": "JobCancellation", "body": jsonText(map[string]any{"jobId": j.uuid, "timeout": "00:05:00"})}
	}
	return nil
}

func jsonText(value any) string {
	text, _ := json.Marshal(value) // can't fail: maps of JSON's types
	return string(text)
}

func (s *Server) acknowledge(w http.ResponseWriter, r *http.Request, of *runner) {
	var asked acknowledgement
	if !queried(w, r, "sessionId", "status", "runnerVersion", "os", "architecture") || !body(w, r, &asked) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case of.session == nil || of.session.id != r.URL.Query().Get("sessionId"):
		brokerError(w, http.StatusNotFound, "RunnerSessionInvalid", "Invalid session")
	case of.job == nil || of.job.requestID != asked.Request:
		brokerError(w, http.StatusNotFound, "AcknowledgeJobNotFound", "Job not found")
	default:
		of.job.acknowledged = true
		w.WriteHeader(http.StatusOK)
	}
}

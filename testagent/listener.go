package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/ChristopherHX/github-act-runner/protocol"
	runservice "github.com/ChristopherHX/github-act-runner/protocol/run"
	"github.com/ChristopherHX/github-act-runner/runnerconfiguration"
)

// Times of GitHub's runner.
const (
	sessionRetry  = 30 * time.Second
	conflictLimit = 4 * time.Minute
	renewInterval = time.Minute
	httpLimit     = 100 * time.Second
)

type listener struct {
	root       string
	instance   *runnerconfiguration.RunnerInstance
	connection *protocol.VssConnection
	session    *protocol.AgentMessageConnection
}

// run takes jobs until ctx ends; an ephemeral runner takes one.
func run(ctx context.Context, root string) int {
	instance, err := settingsFolder(root).load()
	if err != nil {
		fmt.Fprintf(os.Stderr, "An error occurred: %v\n", err)
		return exitTerminated
	}
	l := &listener{root: root, instance: instance, connection: &protocol.VssConnection{
		Client: &http.Client{Timeout: httpLimit}, TenantURL: instance.Auth.TenantURL,
		PoolID: instance.PoolID, TaskAgent: instance.Agent, Key: instance.PKey,
	}}
	if code, connected := l.connect(ctx); !connected {
		return code
	}
	fmt.Printf("\n√ Connected to GitHub\n\nCurrent runner version: '%s'\n", version)
	say("Listening for Jobs")
	return l.listen(ctx)
}

func say(format string, args ...any) {
	fmt.Printf("%s: %s\n", time.Now().UTC().Format("2006-01-02 15:04:05Z"), fmt.Sprintf(format, args...))
}

// connect makes a session; code is the exit code if it can't.
func (l *listener) connect(ctx context.Context) (code int, connected bool) {
	var conflicts time.Duration
	for told := false; ; {
		session, err := l.createSession(ctx)
		switch {
		case err == nil:
			l.session = session
			return 0, true
		case ctx.Err() != nil:
			return exitSuccess, false
		case strings.Contains(err.Error(), "invalid_client") || strings.Contains(err.Error(), "RunnerNotFound"):
			fmt.Fprintln(os.Stderr, "Failed to create a session. The runner registration has been deleted from the server, please re-configure.")
			return exitTerminated, false
		case strings.Contains(err.Error(), "TaskAgentSessionConflictException"):
			fmt.Fprintln(os.Stderr, "A session for this runner already exists.")
			if conflicts >= conflictLimit {
				return exitSessionConflict, false
			}
			conflicts += sessionRetry
		}
		if !told {
			say("Runner connect error: %s. Retrying until reconnected.", firstLine(err))
			told = true
		}
		if !pause(ctx, sessionRetry) {
			return exitSuccess, false
		}
	}
}

// createSession goes on for a moment after a stop: a question cut off may have made
// a session all the same, which nobody would end.
func (l *listener) createSession(ctx context.Context) (*protocol.AgentMessageConnection, error) {
	whole, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		time.Sleep(2 * time.Second)
		cancel()
	})()
	return l.connection.CreateSession(whole)
}

func pause(ctx context.Context, length time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(length):
		return true
	}
}

func firstLine(err error) string {
	first, _, _ := strings.Cut(strings.TrimSpace(err.Error()), "\n")
	return first
}

// disconnect ends the session; for an ephemeral runner that is done GitHub has
// ended it already and refuses.
func (l *listener) disconnect() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_ = l.session.Delete(ctx)
}

func (l *listener) listen(ctx context.Context) int {
	for {
		message, err := l.session.GetSingleMessage(ctx)
		switch {
		case ctx.Err() != nil:
			l.disconnect()
			fmt.Println("Exiting...")
			return exitSuccess
		case errors.Is(err, io.EOF):
			continue // nothing for a while
		case err != nil && (strings.Contains(err.Error(), "RunnerNotFound") || strings.Contains(err.Error(), "invalid_client")):
			fmt.Fprintln(os.Stderr, "The runner no longer exists on the server. Cleaning up local configuration.")
			settingsFolder(l.root).clear()
			return exitSuccess
		case err != nil && strings.Contains(err.Error(), "RunnerVersionTooOld"):
			fmt.Fprintf(os.Stderr, "An error occurred: %v\n", err)
			if os.Getenv("ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE") == "1" {
				return exitVersionDeprecated
			}
			return exitTerminated
		case err != nil && strings.Contains(err.Error(), "RunnerSessionInvalid"):
			if code, connected := l.connect(ctx); !connected {
				return code
			}
			continue
		case err != nil:
			say("Runner connect error: %s. Retrying until reconnected.", firstLine(err))
			pause(ctx, 15*time.Second+rand.N(15*time.Second))
			continue
		case message.MessageType != "RunnerJobRequest":
			say("ignored a message of type %s", message.MessageType)
			continue
		}
		if err := l.session.DeleteMessage(ctx, message); err != nil { // this acknowledges it
			say("acknowledge: %s", firstLine(err))
		}
		l.job(ctx, message)
		if l.instance.Agent.Ephemeral {
			l.disconnect()
			settingsFolder(l.root).clear()
			return exitSuccess
		}
		l.session.Status = "Online"
	}
}

// job runs the one that a message names, while a poll waits for its cancellation.
func (l *listener) job(ctx context.Context, message *protocol.TaskAgentMessage) {
	var ref struct {
		Request   string `json:"runner_request_id"`
		Service   string `json:"run_service_url"`
		BillingID string `json:"billing_owner_id"`
	}
	if err := json.Unmarshal([]byte(message.Body), &ref); err != nil {
		say("job message: %v", err)
		return
	}
	raw, err := l.acquire(ctx, ref.Service, &runservice.AcquireJobRequest{JobMessageID: ref.Request, BillingOwnerID: ref.BillingID})
	if err != nil {
		say("job %s: %s", ref.Request, firstLine(err))
		return
	}
	request := &protocol.AgentJobRequestMessage{}
	if err := json.Unmarshal(raw, request); err != nil {
		say("job %s: %v", ref.Request, err)
		return
	}
	lock, err := newJobLock(l.connection.Client, request, ref.Service)
	if err == nil {
		err = lock.renew(ctx)
	}
	if err != nil {
		say("job %s: renew: %s", request.JobDisplayName, firstLine(err))
		return
	}
	say("Running job: %s", request.JobDisplayName)
	running, finished := context.WithCancel(context.WithoutCancel(ctx)) // a shutdown takes its time
	cancelled := make(chan struct{})
	go l.awaitCancellation(running, request.JobID, cancelled)
	go lock.keep(running)
	if err := l.work(ctx, assignment{Service: ref.Service, Request: raw}, cancelled); err != nil {
		say("job %s: the worker: %v", request.JobDisplayName, err)
	}
	finished()
}

func (l *listener) acquire(ctx context.Context, service string, body *runservice.AcquireJobRequest) (raw []byte, err error) {
	for attempt := 1; ; attempt++ {
		err := l.connection.RequestWithContext2(ctx, http.MethodPost, strings.TrimSuffix(service, "/")+"/acquirejob", "", body, &raw)
		if err == nil || attempt == 5 || ctx.Err() != nil || strings.Contains(err.Error(), "actions-run-service") {
			return raw, err
		}
		pause(ctx, 5*time.Second)
	}
}

// jobLock keeps a job this runner's.
type jobLock struct {
	connection *protocol.VssConnection
	request    *protocol.AgentJobRequestMessage
	service    string
}

func newJobLock(client *http.Client, request *protocol.AgentJobRequestMessage, service string) (jobLock, error) {
	connection, _, err := request.GetConnection("SystemVssConnection")
	if err != nil {
		return jobLock{}, err
	}
	connection.Client = client
	return jobLock{connection, request, strings.TrimSuffix(service, "/")}, nil
}

func (j jobLock) renew(ctx context.Context) error {
	var reply runservice.RenewJobResponse
	return j.connection.RequestWithContext2(ctx, http.MethodPost, j.service+"/renewjob", "", &runservice.RenewJobRequest{PlanID: j.request.Plan.PlanID, JobID: j.request.JobID}, &reply)
}

func (j jobLock) keep(ctx context.Context) {
	for pause(ctx, renewInterval) {
		if err := j.renew(ctx); err != nil && ctx.Err() == nil {
			say("job %s: renew: %s", j.request.JobDisplayName, firstLine(err))
		}
	}
}

func (l *listener) awaitCancellation(ctx context.Context, jobID string, cancelled chan<- struct{}) {
	busy := *l.session
	busy.Status = "Busy"
	for ctx.Err() == nil {
		message, err := busy.GetSingleMessage(ctx)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				pause(ctx, 5*time.Second)
			}
			continue
		}
		var asked struct {
			Job string `json:"jobId"`
		}
		if message.MessageType == "JobCancellation" && json.Unmarshal([]byte(message.Body), &asked) == nil && asked.Job == jobID {
			close(cancelled)
			return
		}
	}
}

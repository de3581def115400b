package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
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
	mostFailures  = 10 // polls in a row; then exit code 2 asks for a restart
)

type listener struct {
	root     string
	instance *runnerconfiguration.RunnerInstance
	broker   *broker
}

// run takes jobs until ctx ends. An ephemeral runner takes one.
func run(ctx context.Context, root string) int {
	if err := openDiagnostics(root); err != nil {
		fmt.Fprintf(os.Stderr, "An error occurred: %v\n", err)
		return exitTerminated
	}
	instance, err := settingsFolder(root).load()
	if err != nil {
		complain("An error occurred: %v", err)
		return exitTerminated
	}
	address, _ := instance.Agent.Properties.LookupString("ServerUrlV2")
	l := &listener{root: root, instance: instance, broker: &broker{
		address: strings.TrimSuffix(address, "/") + "/", client: &http.Client{Timeout: httpLimit}, agent: instance.Agent, key: instance.PKey,
	}}
	if code, connected := l.connect(ctx); !connected {
		return code
	}
	fmt.Printf("\n√ Connected to GitHub\n\nCurrent runner version: '%s'\n", version)
	say("Listening for Jobs")
	return l.listen(ctx)
}

// diagnostics is the listener's own log, as in GitHub's runner.
var diagnostics *os.File

func openDiagnostics(root string) error {
	folder := filepath.Join(root, "_diag")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	var err error
	diagnostics, err = os.Create(filepath.Join(folder, time.Now().UTC().Format("Runner_20060102-150405-utc.log")))
	return err
}

func say(format string, args ...any) {
	line := fmt.Sprintf("%s: %s", time.Now().UTC().Format("2006-01-02 15:04:05Z"), fmt.Sprintf(format, args...))
	fmt.Println(line)
	note("INFO Terminal] WRITE LINE: " + line)
}

func complain(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	fmt.Fprintln(os.Stderr, line)
	note("ERR  Terminal] WRITE ERROR: " + line)
}

func note(line string) {
	if diagnostics != nil {
		fmt.Fprintf(diagnostics, "[%s %s\n", time.Now().UTC().Format("2006-01-02 15:04:05Z"), line)
	}
}

// connect makes a session. If it can't, code is the exit code. Among the refusals, only that
// of a token means that the registration is gone (BrokerMessageListener.cs:186-207).
func (l *listener) connect(ctx context.Context) (code int, connected bool) {
	var conflicts time.Duration
	for reported := false; ; {
		err := l.createSession(ctx)
		switch {
		case err == nil:
			return 0, true
		case ctx.Err() != nil:
			return exitSuccess, false
		case strings.Contains(err.Error(), "invalid_client"):
			complain("Failed to create a session. The runner registration has been deleted from the server, please re-configure. Runner registrations are automatically deleted for runners that have not connected to the service recently.")
			return exitTerminated, false
		case kind(err) == "GitHub.DistributedTask.WebApi.TaskAgentSessionConflictException":
			complain("A session for this runner already exists.")
			if conflicts >= conflictLimit {
				return exitSessionConflict, false
			}
			conflicts += sessionRetry
		}
		if !reported {
			complain("%s: Runner connect error: %s. Retrying until reconnected.", time.Now().UTC().Format("2006-01-02 15:04:05Z"), firstLine(err))
			reported = true
		}
		if !pause(ctx, sessionRetry) {
			return exitSuccess, false
		}
	}
}

// createSession goes on for a moment after a stop: a request that is cut off may have made a
// session all the same, which nothing would end.
func (l *listener) createSession(ctx context.Context) error {
	whole, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		time.Sleep(2 * time.Second)
		cancel()
	})()
	return l.broker.connect(whole)
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

func (l *listener) listen(ctx context.Context) int {
	failures := 0
	for {
		message, err := l.broker.message(ctx, "Online")
		switch {
		case ctx.Err() != nil:
			l.broker.disconnect()
			fmt.Println("Exiting...")
			return exitSuccess
		case errors.Is(err, nothing):
			failures = 0
			continue
		case kind(err) == "RunnerNotFound":
			complain("The runner no longer exists on the server. Cleaning up local configuration.")
			settingsFolder(l.root).clear()
			return exitSuccess
		case kind(err) == "RunnerVersionTooOld":
			complain("An error occurred: %v", err)
			if os.Getenv("ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE") == "1" {
				return exitVersionDeprecated
			}
			return exitTerminated
		case kind(err) == "RunnerSessionInvalid":
			if code, connected := l.connect(ctx); !connected {
				return code
			}
			continue
		case err != nil:
			if failures++; failures >= mostFailures {
				complain("An error occurred: %v", err)
				return exitRetryable
			}
			if failures == 1 {
				complain("%s: Runner connect error: %s. Retrying until reconnected.", time.Now().UTC().Format("2006-01-02 15:04:05Z"), firstLine(err))
			}
			wait := 15 * time.Second
			if failures > 5 {
				wait *= 2
			}
			pause(ctx, wait+rand.N(wait))
			_ = l.broker.authorize() // the next poll shows an error
			continue
		}
		failures = 0
		if message.MessageType != "RunnerJobRequest" {
			l.order(ctx, message)
			continue
		}
		if !l.job(ctx, message) {
			continue
		}
		if l.instance.Agent.Ephemeral {
			l.broker.disconnect()
			settingsFolder(l.root).clear()
			return exitSuccess
		}
	}
}

// order carries out GitHub's orders between jobs.
func (l *listener) order(ctx context.Context, message *protocol.TaskAgentMessage) {
	switch message.MessageType {
	case "ForceTokenRefresh":
		if err := l.broker.authorize(); err != nil {
			complain("another token: %v", err)
		}
	case "RunnerRefreshConfig":
		if err := l.refresh(ctx, message.Body); err != nil {
			complain("settings: %v", err)
		}
	default:
		complain("Received message %d with unsupported message type %s.", message.MessageID, message.MessageType)
	}
}

// refresh stores the settings that GitHub sends back, next to the old ones. A new session uses
// them (Runner.Listener/RunnerConfigUpdater.cs:77-225).
func (l *listener) refresh(ctx context.Context, body string) error {
	var asked struct {
		ID   string `json:"runnerQualifiedId"`
		Kind string `json:"configType"`
		URL  string `json:"configRefreshURL"`
	}
	if err := json.Unmarshal([]byte(body), &asked); err != nil {
		return err
	}
	name := map[string]string{"runner": ".runner", "credentials": ".credentials"}[asked.Kind]
	if parts := strings.Split(strings.Trim(asked.ID, "/"), "/"); name == "" || len(parts) != 4 || parts[3] != fmt.Sprint(l.instance.Agent.ID) {
		return fmt.Errorf("settings %q of runner %s", asked.Kind, asked.ID)
	}
	content, err := os.ReadFile(filepath.Join(l.root, name))
	if err != nil {
		return err
	}
	var encoded string
	if err := l.broker.send(ctx, http.MethodPost, asked.URL, base64.StdEncoding.EncodeToString(content), &encoded); err != nil || encoded == "" {
		return err // nothing changes
	}
	decoded, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return err
	}
	path := filepath.Join(l.root, name+"_migrated")
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.WriteFile(path, decoded, 0o644)
}

// job runs the job that a message names, while a poll waits for its cancellation. It returns
// false if there is no job to run: another runner has it, or it is gone.
func (l *listener) job(ctx context.Context, message *protocol.TaskAgentMessage) bool {
	var ref struct {
		Request     string `json:"runner_request_id"`
		Acknowledge bool   `json:"should_acknowledge"`
		Service     string `json:"run_service_url"`
		BillingID   string `json:"billing_owner_id"`
	}
	if err := json.Unmarshal([]byte(message.Body), &ref); err != nil {
		complain("job message: %v", err)
		return false
	}
	if ref.Acknowledge {
		if err := l.broker.acknowledge(ctx, ref.Request); err != nil {
			complain("acknowledge: %s", firstLine(err))
		}
	}
	raw, err := l.acquire(ctx, ref.Service, ref.Request, ref.BillingID)
	if err != nil {
		complain("job %s: %s", ref.Request, firstLine(err))
		return false
	}
	request := &protocol.AgentJobRequestMessage{}
	if err := json.Unmarshal(raw, request); err != nil {
		complain("job %s: %v", ref.Request, err)
		return true
	}
	lock, err := newJobLock(l.broker.client, request, ref.Service)
	if err == nil {
		err = lock.renew(ctx)
	}
	if err != nil {
		complain("job %s: renew: %s", request.JobDisplayName, firstLine(err))
		return true
	}
	say("Running job: %s", request.JobDisplayName)
	running, finished := context.WithCancel(context.WithoutCancel(ctx)) // goes on during a shutdown, which takes time
	cancelled := make(chan struct{})
	go l.awaitCancellation(running, request.JobID, cancelled)
	go lock.keep(running)
	if err := l.work(ctx, assignment{Service: ref.Service, Request: raw}, cancelled); err != nil {
		complain("job %s: the worker: %v", request.JobDisplayName, err)
	}
	finished()
	return true
}

func (l *listener) acquire(ctx context.Context, service, request, billing string) (raw json.RawMessage, err error) {
	for attempt := 1; ; attempt++ {
		err := l.broker.send(ctx, http.MethodPost, strings.TrimSuffix(service, "/")+"/acquirejob",
			map[string]string{"jobMessageId": request, "runnerOS": "Linux", "billingOwnerId": billing}, &raw)
		if err == nil || attempt == 5 || ctx.Err() != nil || strings.Contains(err.Error(), "actions-run-service") {
			return raw, err
		}
		pause(ctx, 5*time.Second)
	}
}

// jobLock keeps a job assigned to this runner.
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
	reported := false
	for ctx.Err() == nil {
		message, err := l.broker.message(ctx, "Busy")
		if err != nil {
			if !errors.Is(err, nothing) {
				pause(ctx, 5*time.Second)
			}
			continue
		}
		var asked struct {
			Job string `json:"jobId"`
		}
		switch {
		case message.MessageType != "JobCancellation":
			l.order(ctx, message)
		case json.Unmarshal([]byte(message.Body), &asked) == nil && asked.Job == jobID && !reported:
			close(cancelled)
			reported = true
		}
	}
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/ChristopherHX/github-act-runner/protocol"
	"github.com/ChristopherHX/github-act-runner/protocol/logger"
	"github.com/ChristopherHX/github-act-runner/protocol/results"
)

const (
	blockSize    = 1 << 20 // of a log that is uploaded while it grows
	feedInterval = 250 * time.Millisecond
	uploadLimit  = time.Minute
)

// jobLog sends a job's output to GitHub: live over a web socket, and for good as files, one
// per step and one for the whole job.
type jobLog struct {
	plan, job string
	results   *results.ResultsService
	changes   int64
	feed      *logger.WebsocketLivelogger
	fed       sync.WaitGroup
	stop      chan struct{}

	mu         sync.Mutex // guards all fields below
	masks      []string
	step       string
	stepFile   logFile
	jobFile    logFile
	waiting    []string // for the feed
	waitingFor string
	firstLine  int64
}

// logFile is a log that is uploaded in blocks.
type logFile struct {
	buffer  bytes.Buffer
	lines   int64
	started bool
}

func newJobLog(request *protocol.AgentJobRequestMessage, connection *protocol.VssConnection, feedURL string) *jobLog {
	l := &jobLog{
		plan: request.Plan.PlanID, job: request.JobID, results: &results.ResultsService{Connection: connection}, stop: make(chan struct{}),
		feed: &logger.WebsocketLivelogger{JobRequest: request, Connection: connection, FeedStreamURL: feedURL},
	}
	l.fed.Go(l.keepFeeding)
	return l
}

// mask hides a secret from all later lines.
func (l *jobLog) mask(secret string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if secret != "" {
		l.masks = append(l.masks, secret)
	}
}

func (l *jobLog) begin(step string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.step, l.stepFile = step, logFile{}
}

// line logs text, which may have several lines.
func (l *jobLog) line(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, secret := range l.masks {
		text = strings.ReplaceAll(text, secret, "***")
	}
	stamp := time.Now().UTC().Format("2006-01-02T15:04:05.0000000Z ")
	if l.waitingFor != l.step {
		l.sendWaiting()
		l.waitingFor, l.firstLine = l.step, 1
	}
	for each := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		l.waiting = append(l.waiting, each)
		for _, file := range []*logFile{&l.stepFile, &l.jobFile} {
			file.buffer.WriteString(stamp + each + "\n")
			file.lines++
		}
	}
	if l.stepFile.buffer.Len() > blockSize {
		_ = l.uploadStep(false) // a lasting error shows at the next block
	}
	if l.jobFile.buffer.Len() > blockSize {
		_ = l.uploadJob(false)
	}
}

// end uploads the log of the step.
func (l *jobLog) end() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.uploadStep(true)
}

// close uploads the log of the job and ends the feed.
func (l *jobLog) close() error {
	close(l.stop)
	l.fed.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.uploadJob(true)
}

func (l *jobLog) uploadStep(last bool) error {
	step := l.step
	return l.stepFile.upload(last, func(ctx context.Context, content *bytes.Buffer, size int64, first bool, lines int64) error {
		return l.results.UploadResultsStepLogAsync(ctx, l.plan, l.job, step, content, size, last, first, lines)
	})
}

func (l *jobLog) uploadJob(last bool) error {
	return l.jobFile.upload(last, func(ctx context.Context, content *bytes.Buffer, size int64, first bool, lines int64) error {
		return l.results.UploadResultsJobLogAsync(ctx, l.plan, l.job, content, size, last, first, lines)
	})
}

func (f *logFile) upload(last bool, send func(ctx context.Context, content *bytes.Buffer, size int64, first bool, lines int64) error) error {
	if last && f.lines == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), uploadLimit)
	defer cancel()
	err := send(ctx, bytes.NewBuffer(bytes.Clone(f.buffer.Bytes())), int64(f.buffer.Len()), !f.started, f.lines)
	f.started = true
	f.buffer.Reset()
	return err
}

// summary uploads the Markdown that the step wants to show.
func (l *jobLog) summary(text string) error {
	ctx, cancel := context.WithTimeout(context.Background(), uploadLimit)
	defer cancel()
	ref := map[string]any{"workflow_run_backend_id": l.plan, "workflow_job_run_backend_id": l.job, "step_backend_id": l.step}
	var place struct {
		URL string `json:"summary_url"`
	}
	if err := l.call(ctx, "GetStepSummarySignedBlobURL", ref, &place); err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, place.URL, strings.NewReader(text))
	if err != nil {
		return err
	}
	request.Header.Set("x-ms-blob-type", "BlockBlob")
	response, err := l.results.Connection.Client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusCreated {
		return fmt.Errorf("upload of the summary: %s", response.Status)
	}
	ref["size"], ref["uploaded_at"] = len(text), time.Now().UTC().Format("2006-01-02T15:04:05.000Z")
	return l.call(ctx, "CreateStepSummaryMetadata", ref, nil)
}

// call sends a request to the results service.
func (l *jobLog) call(ctx context.Context, method string, body, reply any) error {
	address := strings.TrimSuffix(l.results.Connection.TenantURL, "/") + "/twirp/results.services.receiver.Receiver/" + method
	return l.results.Connection.RequestWithContext2(ctx, http.MethodPost, address, "", body, reply)
}

func (l *jobLog) update(steps []results.Step) error {
	ctx, cancel := context.WithTimeout(context.Background(), uploadLimit)
	defer cancel()
	l.changes++
	return l.results.UpdateWorkflowStepsAsync(ctx, &results.StepsUpdateRequest{Steps: steps, ChangeOrder: l.changes, WorkflowJobRunBackendID: l.job, WorkflowRunBackendID: l.plan})
}

// keepFeeding sends lines a few times a second. The feed is only for viewers: a job does not
// fail with it.
func (l *jobLog) keepFeeding() {
	if err := l.feed.Connect(); err != nil {
		say("live log: %s", firstLine(err))
	}
	ticker := time.NewTicker(feedInterval)
	defer ticker.Stop()
	for ended := false; !ended; {
		select {
		case <-l.stop:
			ended = true
		case <-ticker.C:
		}
		l.mu.Lock()
		l.sendWaiting()
		l.mu.Unlock()
	}
	if err := l.feed.Close(); err != nil && !errors.Is(err, context.Canceled) {
		say("live log: %s", firstLine(err))
	}
}

// sendWaiting sends the waiting lines to the feed. The caller must hold l.mu.
func (l *jobLog) sendWaiting() {
	if len(l.waiting) == 0 {
		return
	}
	start := l.firstLine
	_ = l.feed.SendLog(&protocol.TimelineRecordFeedLinesWrapper{Count: int64(len(l.waiting)), Value: l.waiting, StepID: l.waitingFor, StartLine: &start})
	l.firstLine += int64(len(l.waiting))
	l.waiting = nil
}

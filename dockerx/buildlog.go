package dockerx

import (
	"bytes"
	"strings"

	bkclient "github.com/moby/buildkit/client"
	"github.com/opencontainers/go-digest"
)

// BuildError holds the failing step and the end of its output.
type BuildError struct {
	Object  string // the object that could not be built, like "image runnerctl/runner:4f2a91c"
	Problem string
	Lines   []string
	Advice  string
}

func (e *BuildError) Error() string { return e.Object + ": the build failed" }

// Cause returns the builder's own message.
func (e *BuildError) Cause() string { return e.Problem }

// Last returns the last lines of the failing step's output.
func (e *BuildError) Last() []string { return e.Lines }

// Hint returns advice for the user.
func (e *BuildError) Hint() string { return e.Advice }

// buildLog holds the output of a build's steps. Stages are built in parallel, and when a step
// fails, BuildKit cancels the steps that run at the same time: those end with an error too.
type buildLog map[digest.Digest]*buildStep

type buildStep struct {
	name, err string
	output    tail
}

func (l buildLog) add(status *bkclient.SolveStatus) {
	for _, vertex := range status.Vertexes {
		step := l.step(vertex.Digest)
		step.name = vertex.Name
		if vertex.Error != "" {
			step.err = vertex.Error
		}
	}
	for _, log := range status.Logs {
		_, _ = l.step(log.Vertex).output.Write(log.Data) // never fails
	}
}

func (l buildLog) step(of digest.Digest) *buildStep {
	if l[of] == nil {
		l[of] = &buildStep{}
	}
	return l[of]
}

// failed returns the step that a build's message is about: the message ends with the step's
// own. It returns an empty step if no step matches.
func (l buildLog) failed(message string) *buildStep {
	found := &buildStep{}
	for _, step := range l {
		if step.err != "" && strings.HasSuffix(message, step.err) && len(step.err) > len(found.err) {
			found = step
		}
	}
	return found
}

// stepProblem returns the beginning of the step and why it failed. BuildKit's own message
// repeats the whole command, in brackets or, from BuildKit 0.10 on, in quotes.
func stepProblem(step, message string) string {
	if step == "" {
		return message
	}
	if runes := []rune(step); len(runes) > 80 {
		step = string(runes[:79]) + "…"
	}
	for _, end := range []string{"]: ", `" did not complete successfully: `} {
		if i := strings.LastIndex(message, end); i >= 0 {
			message = message[i+len(end):]
		}
	}
	return step + ": " + message
}

const (
	tailLines = 10
	tailSize  = 16 << 10 // bytes
)

// tail is a writer that keeps the end of a program's output.
type tail struct{ kept []byte }

func (t *tail) Write(data []byte) (int, error) {
	t.kept = append(t.kept, data...)
	if extra := len(t.kept) - tailSize; extra > 0 {
		t.kept = append(t.kept[:0], t.kept[extra:]...)
	}
	return len(data), nil
}

// lines returns the last lines that are not empty, each as a terminal would finally show it:
// text before a carriage return is overwritten.
func (t *tail) lines() (last []string) {
	for line := range bytes.Lines(t.kept) {
		line = bytes.TrimSpace(line)
		line = bytes.TrimSpace(line[bytes.LastIndexByte(line, '\r')+1:])
		if len(line) > 0 {
			last = append(last, string(line))
		}
	}
	return last[max(0, len(last)-tailLines):]
}

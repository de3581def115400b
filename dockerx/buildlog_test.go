package dockerx

import (
	"slices"
	"strings"
	"testing"

	bkclient "github.com/moby/buildkit/client"
	"github.com/opencontainers/go-digest"
)

// A cancelled step next to the failed one is not reported, regardless of which ended
// first.
func TestBuildLogNamesTheStepThatFailed(t *testing.T) {
	status := func(id digest.Digest, name, err, output string) *bkclient.SolveStatus {
		return &bkclient.SolveStatus{
			Vertexes: []*bkclient.Vertex{{Digest: id, Name: name, Error: err}},
			Logs:     []*bkclient.VertexLog{{Vertex: id, Data: []byte(output)}},
		}
	}
	const cause = `process "/bin/sh -c apt-get install x" did not complete successfully: exit code: 100`
	failed := []*bkclient.SolveStatus{
		status("f", "[rootfs 4/9] RUN apt-get install x", "", "(Reading ... 5%\r(Reading ... 100%\r\nE: Unable to "),
		status("f", "[rootfs 4/9] RUN apt-get install x", cause, "locate package x\n"),
	}
	cancelled := status("c", "[stage-1 2/6] RUN sleep", "context canceled", "innocent\n")
	for name, order := range map[string][]*bkclient.SolveStatus{
		"cancelled after":  append(slices.Clone(failed), cancelled),
		"cancelled before": append([]*bkclient.SolveStatus{cancelled}, failed...),
	} {
		log := buildLog{}
		for _, one := range order {
			log.add(one)
		}
		step := log.failed("failed to solve: " + cause)
		if got, want := strings.Join(step.output.lines(), "|"), "(Reading ... 100%|E: Unable to locate package x"; got != want {
			t.Errorf("%s: output %q, want %q", name, got, want)
		}
		if got, want := stepProblem(step.name, "failed to solve: "+cause), "[rootfs 4/9] RUN apt-get install x: exit code: 100"; got != want {
			t.Errorf("%s: problem %q, want %q", name, got, want)
		}
		if got := log.failed("failed to read the Dockerfile"); got.name != "" || got.output.lines() != nil {
			t.Errorf("%s: got %+v, want no step", name, got)
		}
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	var kept tail
	for range tailSize {
		_, _ = kept.Write([]byte("x\n"))
	}
	_, _ = kept.Write([]byte("the last"))
	lines := kept.lines()
	if len(kept.kept) > tailSize || len(lines) != tailLines || lines[tailLines-1] != "the last" {
		t.Errorf("%d bytes, want at most %d; %q, want %d lines, the last %q", len(kept.kept), tailSize, lines, tailLines, "the last")
	}
}

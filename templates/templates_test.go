package templates

import (
	"bytes"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/runnerctl/runnerctl/internal/golden"
)

func full() Data {
	return Data{
		Base: "debian:trixie-slim", OuterBase: "debian:trixie-slim", Profile: Standard, Packages: []string{"g++"}, Sudo: true,
		Fragment: "RUN true", Shift: DockerShift(65536), Labels: []Label{{"org.opencontainers.image.version", "1.0"}},
	}
}

func TestRenderGolden(t *testing.T) {
	bare := full()
	bare.Sudo, bare.Fragment, bare.Packages, bare.Labels, bare.Shift = false, "", nil, nil, DockerShift(1<<31)
	agent := full()
	agent.Agent = &Agent{SHA256: strings.Repeat("0a", 32), Hooks: true}
	agent.Buildx = &Buildx{SHA256: strings.Repeat("0b", 32)}
	cache := agent
	cache.Agent = &Agent{SHA256: agent.Agent.SHA256, Cache: true}
	pod := full()
	pod.Shift = PodShift()
	for name, data := range map[string]Data{"full": full(), "bare": bare, "agent": agent, "cache": cache, "pod": pod} {
		got, err := Render(data)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parser.Parse(bytes.NewReader(got)); err != nil {
			t.Errorf("%s: BuildKit does not parse it: %v", name, err)
		}
		golden.Check(t, "testdata/"+name+".Dockerfile", got)
	}
}

func TestNoInstructionIsInjected(t *testing.T) {
	changes := map[string]func(*Data){
		"base":    func(d *Data) { d.Base = "debian\nRUN evil" },
		"outer":   func(d *Data) { d.OuterBase = "debian AS rootfs" },
		"package": func(d *Data) { d.Packages = []string{"jq\nRUN evil"} },
		"option":  func(d *Data) { d.Packages = []string{"-o=x"} },
		"label":   func(d *Data) { d.Labels = []Label{{"a", "b\"\nRUN evil"}} },
		"agent":   func(d *Data) { d.Agent = &Agent{SHA256: "0'; evil; '"} },
		"buildx":  func(d *Data) { d.Buildx = &Buildx{SHA256: "0'; evil; '"} },
		"profile": func(d *Data) { d.Profile = "huge" },
		"root":    func(d *Data) { d.Shift = Shift{{0, 1000}, {1002, 65536}} },
		"runner":  func(d *Data) { d.Shift = Shift{{1000, 65536}} },
		"twice":   func(d *Data) { d.Shift = Shift{{100000, 65536}, {165535, 10}} },
		"few":     func(d *Data) { d.Shift = Shift{{1002, 1000}} },
		"none":    func(d *Data) { d.Shift = nil },
		"beyond":  func(d *Data) { d.Shift = DockerShift(1 << 32) },
	}
	for name, change := range changes {
		data := full()
		change(&data)
		if got, err := Render(data); err == nil {
			t.Errorf("%s is taken:\n%s", name, got)
		}
	}
}

func TestSudoFalseLeavesItOut(t *testing.T) {
	data := full()
	data.Sudo = false
	got, err := Render(data)
	if err != nil || strings.Contains(string(got), "sudo") {
		t.Errorf("%v\n%s", err, got)
	}
}

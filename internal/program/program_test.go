package program_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/runnerctl/runnerctl/internal/program"
)

func TestSupervisorProgram(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ named, arch, want string }{
		{text, "x86_64", "text: not a Linux program"},
		{"/nosuch", "x86_64", "--supervisor-binary: /nosuch: not a Linux program"},
		{"", "riscv64", "no runnerctl for the engine's machine, which is riscv64"},
	} {
		if _, err := program.ForSupervisor(test.named, test.arch); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, want %q", test, err, test.want)
		}
	}
	other := map[string]string{"amd64": "aarch64", "arm64": "x86_64"}[runtime.GOARCH]
	if runtime.GOOS != "linux" || other == "" {
		return
	}
	if _, err := program.ForSupervisor("", other); err == nil || !strings.Contains(err.Error(), "the engine's machine is "+other) {
		t.Errorf("of another architecture: %v, want %q", err, "the engine's machine is "+other)
	}
}

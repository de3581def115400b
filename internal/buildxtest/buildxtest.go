// Package buildxtest builds docker's buildx plugin from testbuildx/ for tests.
package buildxtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"testing"
)

var requirement = regexp.MustCompile(`github\.com/docker/buildx v([0-9]+\.[0-9]+\.[0-9]+)`)

// Program builds buildx from its Go module, static and named like its releases.
func Program(t testing.TB) (path, version string) {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	module := filepath.Join(filepath.Dir(here), "..", "..", "testbuildx")
	text, err := os.ReadFile(filepath.Join(module, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	parts := requirement.FindSubmatch(text)
	if parts == nil {
		t.Fatal("testbuildx/go.mod requires no buildx")
	}
	version = string(parts[1])
	path = filepath.Join(t.TempDir(), "buildx-v"+version+".linux-"+runtime.GOARCH)
	build := exec.Command("go", "-C", module, "build", "-trimpath", "-ldflags", "-s -w -X github.com/docker/buildx/version.Version=v"+version, "-o", path, "github.com/docker/buildx/cmd/buildx")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build buildx: %v: %s", err, output)
	}
	return path, version
}

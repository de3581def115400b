// Package buildxtest builds docker's buildx plugin and BuildKit from testbuildx/ for tests.
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
	module := moduleFolder()
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
	build(t, module, path, "github.com/docker/buildx/cmd/buildx", "-X github.com/docker/buildx/version.Version=v"+version)
	return path, version
}

// BuildKit builds the programs of a builder, static: buildkitd and buildctl.
func BuildKit(t testing.TB) (folder string) {
	t.Helper()
	folder = t.TempDir()
	for _, name := range []string{"buildkitd", "buildctl"} {
		build(t, moduleFolder(), filepath.Join(folder, name), "github.com/moby/buildkit/cmd/"+name, "")
	}
	return folder
}

// build builds a package of the module.
func build(t testing.TB, module, path, name, flags string) {
	t.Helper()
	command := exec.Command("go", "-C", module, "build", "-trimpath", "-ldflags", "-s -w "+flags, "-o", path, name)
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v: %s", name, err, output)
	}
}

func moduleFolder() string {
	_, here, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(here), "..", "..", "testbuildx")
}

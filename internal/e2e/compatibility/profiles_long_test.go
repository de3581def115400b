//go:build linux && long

package compatibility

import (
	"fmt"
	"strings"
	"testing"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/internal/buildxtest"
	"github.com/runnerctl/runnerctl/internal/e2e"
)

// The largest profile builds, contains everything on its page, and a runner with it works.
func TestHostedProfile(t *testing.T) {
	api := e2e.Engine(t)
	name := e2e.NewFleet(t, api)
	e2e.WriteFile(t, "runnerctl.yaml", "image: {profile: hosted}")
	e2e.Must(t, e2e.Up(name)...)
	runner := e2e.List(t, name)[0]
	e2e.Must(t, "exec", runner.Name, "--", "bash", "-euc", `for t in gh gcc g++ cmake python python3 pip3 pipx node npm dig java javac mvn go php composer ruby bundle cargo psql mysql redis-cli shellcheck yamllint ansible Xvfb nc tree; do command -v $t >/dev/null || { echo "no $t" >&2; exit 1; }; done
		cd "$(mktemp -d)"
		printf 'int main(void){return 0;}\n' >a.c && gcc a.c && ./a.out
		python3 -m venv v && v/bin/python -c 'print(1)' && pip3 --version
		[[ $(pip3 install --no-index nothing-there 2>&1) == *"No matching distribution"* ]] # not "externally-managed-environment"
		node -e 'console.log(1)' && npm --version && ruby -e 'puts 1' && php -r 'echo 1;' && java -version && docker version`)
}

// Jobs have the buildx that the settings name, given in the form of its own release. One with
// another digest is refused.
func TestBuildxOfTheSettings(t *testing.T) {
	api := e2e.Engine(t)
	name := e2e.NewFleet(t, api)
	program, version := buildxtest.Program(t)
	e2e.WriteFile(t, "runnerctl.yaml", fmt.Sprintf("image: {buildx: {archive: %s, sha256: %s}}", program, strings.Repeat("0a", 32)))
	if code, _, stderr := e2e.Runnerctl(t.Context(), "build", "--bootstrap-base"); code != commands.ExitFailure || !strings.Contains(stderr, "its SHA-256 is ") {
		t.Fatalf("exit code %d, want %d; stderr:\n%s\nwant %q", code, commands.ExitFailure, stderr, "its SHA-256 is ")
	}
	e2e.WriteFile(t, "runnerctl.yaml", fmt.Sprintf("image: {buildx: {archive: %s}}", program))
	e2e.Must(t, e2e.Up(name)...)
	runner := e2e.List(t, name)[0]
	if got := e2e.Must(t, "exec", runner.Name, "--", "docker", "buildx", "version"); !strings.Contains(got, " v"+version+" ") {
		t.Errorf("buildx %s, want %s", got, version)
	}
	e2e.Must(t, "exec", runner.Name, "--", "bash", "-euc", e2e.Prelude+`busybox_image; printf 'FROM bb\nRUN echo built\n' | docker buildx build --load -t own - && docker run --rm own true`)
	if out := e2e.Must(t, "doctor", "--fleet", name, "-o", "json", "rootfs"); !strings.Contains(out, "buildx "+version) {
		t.Errorf("doctor: %s\nwant %q", out, "buildx "+version)
	}
}

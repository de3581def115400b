//go:build linux

package machine

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/image"
)

func TestImage(t *testing.T) {
	api := e2e.Engine(t)
	tag := e2e.RunnerImage(t)
	info, err := api.ImageInspect(t.Context(), tag)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size > 800e6 {
		t.Errorf("the image takes %d MB unpacked", info.Size/1e6)
	}
	if info.Config.User != "1001:1001" {
		t.Errorf("user %q", info.Config.User)
	}
	hash := strings.TrimPrefix(tag, image.Repository+":")
	if got := info.Config.Labels[dockerx.LabelImage]; got != hash {
		t.Errorf("labelled %q, want %q", got, hash)
	}
	if info.Config.Labels["org.opencontainers.image.version"] == "" {
		t.Error("no version label")
	}
	if again := e2e.RunnerImage(t); again != tag {
		t.Errorf("built again: %s, then %s", tag, again)
	}
}

// The image's own assertion, the base of the security model, refuses outer trees that break
// it.
func TestAssertRefusesUnsafeTrees(t *testing.T) {
	api := e2e.Engine(t)
	tag := e2e.RunnerImage(t)
	for name, test := range map[string]struct{ change, want string }{
		"untouched":   {"true", ""},
		"setuid":      {"chmod u+s /usr/bin/cat", "setuid or setgid files in the outer tree: /usr/bin/cat"},
		"setgid":      {"chmod g+s /usr/bin/cat", "setuid or setgid files in the outer tree: /usr/bin/cat"},
		"capability":  {"setcap cap_net_raw+ep /usr/bin/cat", "file capabilities in the outer tree: /usr/bin/cat cap_net_raw=ep"},
		"newuidmap":   {"setcap -r /usr/bin/newuidmap", "file capabilities in the outer tree: /usr/bin/newgidmap"},
		"two ranges":  {"echo runner:100000:65536 >>/etc/subuid", "/etc/subuid must hold only"},
		"shared id":   {"chown 100005 /etc/passwd", "files of the outer tree with a uid of the map: /etc/passwd"},
		"alien owner": {"chown 5:5 /rootfs/etc/hostname", "owners that the map does not cover: /rootfs/etc/hostname"},
		"other uid":   {"grep -v ^runner: /etc/passwd >/passwd; echo runner:x:1005:1001::/:/bin/sh >>/passwd; cat /passwd >/etc/passwd", "has uid 1005, not 1001"},
	} {
		t.Run(name, func(t *testing.T) {
			dockerfile := "FROM " + tag + "\nUSER root\nRUN " + test.change + "\nRUN /usr/lib/runnerctl/assert 100000:65536\n"
			err := e2e.BuildImage(t, api, "runnerctl-test/assert:"+strings.ReplaceAll(name, " ", "-"), dockerfile)
			if test.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var failure *dockerx.BuildError
			if !errors.As(err, &failure) || !strings.Contains(strings.Join(failure.Last(), "\n"), test.want) {
				t.Errorf("got %v %+v, want %q", err, failure, test.want)
			}
		})
	}
}

// Setuid bits, capabilities and owners of the rootfs survive the shift.
func TestShiftKeepsModesAndCapabilities(t *testing.T) {
	api := e2e.Engine(t)
	name := e2e.NewFleet(t, api)
	settings := "name: " + name + "\nimage:\n  dockerfile: |\n" +
		"    RUN apt-get update -qq && apt-get install -y -qq libcap2-bin >/dev/null\n" +
		"    RUN cp /usr/bin/id /usr/bin/id-games && chgrp games /usr/bin/id-games && chmod 2755 /usr/bin/id-games\n" +
		"    RUN setcap cap_net_raw+ep /usr/bin/id-games\n"
	if err := os.WriteFile(config.DefaultFile, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	e2e.Must(t, "up", "--bootstrap-base", "--progress", "quiet")
	runner := e2e.List(t, name)[0]
	defer func() { // the image belongs to this test
		e2e.Must(t, "down", "--fleet", name)
		e2e.RemoveImage(t, api, runner.Image)
	}()
	got := e2e.Must(t, "exec", runner.Name, "--", "sh", "-c", "stat -c '%U %G %a' /usr/bin/id-games /usr/bin/sudo; sudo getcap /usr/bin/id-games")
	if want := "root games 2755\nroot root 4755\n/usr/bin/id-games cap_net_raw=ep\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// Bases that can't become a runner's rootfs are refused with the reason.
func TestUnfitBases(t *testing.T) {
	api := e2e.Engine(t)
	e2e.RunnerImage(t) // provides debian:trixie-slim
	musl := "FROM debian:trixie-slim AS tools\nRUN apt-get update -qq && apt-get install -y -qq busybox-static >/dev/null\n" +
		"FROM scratch\nCOPY --from=tools /usr/bin/busybox /bin/busybox\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n" +
		"RUN mkdir -p /etc && echo 3.22.0 >/etc/alpine-release && echo 'PRETTY_NAME=\"Alpine Linux v3.22\"' >/etc/os-release\n"
	for name, test := range map[string]struct{ dockerfile, want string }{
		"musl":     {musl, "Alpine Linux v3.22 is built on musl: GitHub's runner needs glibc"},
		"nodocker": {"FROM debian:trixie-slim\nRUN rm -rf /etc/apt/sources.list*\n", "has no package docker.io"},
	} {
		t.Run(name, func(t *testing.T) {
			base := "runnerctl-test/" + name + ":base"
			if err := e2e.BuildImage(t, api, base, test.dockerfile); err != nil {
				t.Fatal(err)
			}
			t.Chdir(t.TempDir())
			if err := os.WriteFile(config.DefaultFile, []byte("image:\n  base: "+base+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			code, _, stderr := e2e.Runnerctl(t.Context(), "build", "--progress", "quiet")
			if code != commands.ExitFailure || !strings.Contains(stderr, test.want) {
				t.Errorf("code %d: %s", code, stderr)
			}
		})
	}
}

// For a failing step, the error has the step and its output.
func TestFailingStep(t *testing.T) {
	e2e.Engine(t)
	e2e.RunnerImage(t)
	if err := os.WriteFile(config.DefaultFile, []byte("image:\n  dockerfile: RUN echo these-words && exit 3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := e2e.Runnerctl(t.Context(), "build", "--progress", "quiet")
	if code != commands.ExitFailure || stdout != "" || !strings.Contains(stderr, "RUN echo these-words && exit 3: exit code: 3") || !strings.Contains(stderr, "last   these-words") {
		t.Errorf("code %d: %s%s", code, stdout, stderr)
	}
}

// For stages that are built in parallel, the error has the failing one's step and its output.
func TestFailingStepBesideAnother(t *testing.T) {
	api := e2e.Engine(t)
	e2e.RunnerImage(t) // provides debian:trixie-slim
	err := e2e.BuildImage(t, api, "runnerctl-test/parallel:failing", fmt.Sprintf("FROM debian:trixie-slim AS failing\nRUN echo %[1]d the guilty && sleep 1 && exit 3\n"+
		"FROM debian:trixie-slim\nRUN echo %[1]d the innocent && sleep 30\nCOPY --from=failing /etc/hostname /\n", time.Now().UnixNano())) // never cached
	var failure *dockerx.BuildError
	if !errors.As(err, &failure) {
		t.Fatal(err)
	}
	last := strings.Join(failure.Last(), "\n")
	if !strings.HasPrefix(failure.Cause(), "[failing 2/2] RUN echo") || !strings.HasSuffix(failure.Cause(), ": exit code: 3") || !strings.HasSuffix(last, "the guilty") || strings.Contains(last, "innocent") {
		t.Errorf("cause %q, last:\n%s", failure.Cause(), last)
	}
}

// --out writes the same files that the engine is sent.
func TestOutWritesTheContext(t *testing.T) {
	t.Chdir(t.TempDir())
	e2e.Must(t, "build", "--out", "context")
	wanted, err := image.Source{Settings: config.Default()}.Recipe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	files, err := wanted.Context()
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range files {
		target := filepath.Join("context", filepath.FromSlash(path))
		got, err := os.ReadFile(target)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v", path, err)
		}
		if info, err := os.Stat(target); err != nil || info.Mode().Perm() != files.Mode(path) {
			t.Errorf("%s: %v %v", path, info.Mode(), err)
		}
	}
}

//go:build linux

package agent

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runnerctl/runnerctl/internal/enginetest"
	"github.com/runnerctl/runnerctl/internal/machine"
)

// fake is a listener that ends when a test or a signal says so.
type fake struct {
	stage *stage
	done  chan struct{}
	once  sync.Once
	code  int
	busy  bool
	deaf  bool
}

func (f *fake) Done() <-chan struct{} { return f.done }
func (f *fake) Code() int             { return f.code }
func (f *fake) Busy() bool            { return f.busy }
func (f *fake) end(code int) {
	f.once.Do(func() {
		f.code = code
		close(f.done)
	})
}

func (f *fake) Signal(signal syscall.Signal) error {
	f.stage.say("signal " + signal.String())
	if !f.deaf {
		f.end(0)
	}
	return nil
}

// stage is an agent with a fake listener, in a folder of its own.
type stage struct {
	*Agent
	t        *testing.T
	root     string
	mutex    sync.Mutex
	began    time.Time
	lines    []string
	listener *fake
	commands []Command
	// configure stands for the listener when it registers.
	configure func() int
	started   func(*fake) // each listener
}

func (s *stage) say(text string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.lines = append(s.lines, fmt.Sprintf("%g %s", time.Since(s.began).Seconds(), text))
}

func (s *stage) log() string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return strings.Join(s.lines, "\n")
}

func (s *stage) write(name, text string) {
	s.t.Helper()
	path := filepath.Join(s.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) read(name string) string {
	text, err := os.ReadFile(filepath.Join(s.root, name))
	if err != nil {
		return "missing"
	}
	return string(text)
}

func (s *stage) runs(command Command) (Process, error) {
	s.commands = append(s.commands, command)
	process := &fake{stage: s, done: make(chan struct{})}
	s.listener = process
	if s.started != nil {
		s.started(process)
	}
	return process, nil
}

// registers stands for the process that registers: it is this agent in another process.
func (s *stage) registers() (Process, error) {
	process := &fake{stage: s, done: make(chan struct{})}
	code := New(s.Options).Configure(context.Background(), func(command Command) error {
		s.commands = append(s.commands, command)
		process.end(s.configure())
		return errors.New("it has become the listener")
	})
	process.end(code)
	return process, nil
}

func newStage(t *testing.T, settings machine.Agent, credential io.Reader) *stage {
	t.Helper()
	enginetest.NeedRoot(t, "a change of owners", "sh")
	if settings.Work == "" {
		settings.Work = "_work"
	}
	s := &stage{t: t, root: t.TempDir(), began: time.Now()}
	s.Agent = New(Options{
		Settings: settings, Credential: credential, Root: s.root, Start: s.runs, Say: s.say, Routed: func() bool { return true },
		Clean:    func(work string) error { s.say("clean " + work); return nil },
		Bind:     func(_, _ string) error { s.say("bind"); return nil },
		Register: func() (Process, error) { return s.registers() },
		Exchange: func(_ context.Context, mode machine.AgentMode, api, credential string) (string, error) {
			return fmt.Sprintf("token for %s at %s with %s", mode, api, credential), nil
		},
	})
	s.configure = func() int {
		for _, name := range names {
			s.write(Home+"/"+name, "of "+name)
		}
		return 0
	}
	for _, folder := range []string{Home, "/etc/ssl/certs"} {
		if err := os.MkdirAll(filepath.Join(s.root, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func jit(t *testing.T, files map[string]string) string {
	t.Helper()
	encoded := map[string]string{}
	for name, text := range files {
		encoded[name] = base64.StdEncoding.EncodeToString([]byte(text))
	}
	text, err := json.Marshal(encoded)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(text)
}

var whole = map[string]string{".runner": `{"AgentId":12345678901234567890}`, ".credentials": "{}", ".credentials_rsaparams": "{}"}

func TestAgentByJIT(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		certificate := "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n"
		line := jit(t, whole) + " " + base64.StdEncoding.EncodeToString([]byte(certificate)) + "\n"
		s := newStage(t, machine.Agent{Mode: machine.JIT, Ephemeral: true}, strings.NewReader(line))
		s.write(bundle, "before\n")
		s.started = func(listener *fake) {
			if s.State() != listening {
				t.Errorf("state %q, want %q", s.State(), listening)
			}
			listener.end(0)
		}
		if code := s.Run(); code != 0 || !s.Spent() || s.State() != ended {
			t.Errorf("code %d, spent %t, state %q, want 0, true, %q\n%s", code, s.Spent(), s.State(), ended, s.log())
		}
		settings := s.read(files + "/.runner")
		if !strings.Contains(settings, `"AgentId": 12345678901234567890`) || !strings.Contains(settings, `"DisableUpdate": "True"`) {
			t.Errorf(".runner: %s, want the same id, and updates disabled", settings)
		}
		for _, name := range names {
			if target, err := os.Readlink(filepath.Join(s.root, Home, name)); err != nil || target != filepath.Join(s.root, files, name) {
				t.Errorf("%s: link to %q %v, want the file on the tmpfs", name, target, err)
			}
			if info, err := os.Stat(filepath.Join(s.root, files, name)); err != nil || info.Mode().Perm() != 0o600 || info.Sys().(*syscall.Stat_t).Uid != 1001 {
				t.Errorf("%s: %v %v, want a file of runner alone", name, info, err)
			}
		}
		if got := s.read(bundle); got != "before\n"+certificate {
			t.Errorf("certificates: %q, want the new one at the end", got)
		}
		if len(s.commands) != 1 || s.commands[0].Path != "bin/Runner.Listener" || !slices.Equal(s.commands[0].Args, []string{"run"}) {
			t.Errorf("ran %+v, want the listener", s.commands)
		}
		if info, err := os.Stat(filepath.Join(s.root, files)); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("folder of the credentials: %v %v, want 0700", info, err)
		}
	})
}

func TestCredentialsThatAreRefused(t *testing.T) {
	incomplete := map[string]string{".runner": "{}", ".credentials": "{}"}
	for name, test := range map[string]struct{ line, want string }{
		"not base64":             {"x!", "the credential on standard input is not a JIT configuration"},
		"not JSON":               {base64.StdEncoding.EncodeToString([]byte("x")), "the credential on standard input is not a JIT configuration"},
		"files not base64":       {base64.StdEncoding.EncodeToString([]byte(`{".runner":"x!"}`)), "the credential on standard input is not a JIT configuration"},
		"a file is missing":      {jit(t, incomplete), "the agent's file .credentials_rsaparams is missing"},
		"settings are no object": {jit(t, map[string]string{".runner": "[]"}), "the agent's file .runner is not JSON"},
		"no certificates":        {jit(t, whole) + " " + base64.StdEncoding.EncodeToString([]byte("x")), "the certificates on standard input are invalid"},
		"nothing":                {"", "no credential on standard input within 30 s: runnerctl up writes it when it starts the runner"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t, machine.Agent{Mode: machine.JIT, Ephemeral: true}, strings.NewReader(test.line))
			if code := s.Run(); code != codeNoSetup || !strings.Contains(s.log(), test.want) || strings.Contains(s.log(), "x!") {
				t.Errorf("%s: code %d, want %d and %q:\n%s", name, code, codeNoSetup, test.want, s.log())
			}
		})
	}
}

// A name in the credential that is none of an agent's file is ignored.
func TestNamesOfFilesAreChecked(t *testing.T) {
	unpacked, err := jitFiles(jit(t, map[string]string{".runner": "{}", "../../etc/passwd": "x", ".Upper": "x", "plain": "x", ".a/b": "x"}))
	if err != nil || len(unpacked) != 1 {
		t.Errorf("got %v, %v, want .runner alone", unpacked, err)
	}
}

func TestCredentialThatDoesNotCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		read, write := io.Pipe()
		defer write.Close()
		s := newStage(t, machine.Agent{Mode: machine.JIT, Ephemeral: true}, read)
		if code := s.Run(); code != codeNoSetup || !strings.Contains(s.log(), "30 no credential on standard input within 30 s") {
			t.Errorf("code %d, want %d:\n%s", code, codeNoSetup, s.log())
		}
	})
}

// A spare waits for its credential for any time, and a stop ends the wait.
func TestSpare(t *testing.T) {
	for _, stop := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			read, write := io.Pipe()
			defer write.Close()
			s := newStage(t, machine.Agent{Mode: machine.JIT, Ephemeral: true, Spare: true}, read)
			s.started = func(listener *fake) { listener.end(0) }
			code := make(chan int)
			go func() { code <- s.Run() }()
			time.Sleep(24 * time.Hour)
			synctest.Wait()
			if s.State() != waiting {
				t.Errorf("state %q, want %q", s.State(), waiting)
			}
			want := 0
			if stop {
				want = codeStopped
				s.Stop()
			} else if _, err := io.WriteString(write, jit(t, whole)+"\n"); err != nil {
				t.Fatal(err)
			}
			if got := <-code; got != want {
				t.Errorf("stopped %t: code %d, want %d\n%s", stop, got, want, s.log())
			}
		})
	}
}

func TestRegistration(t *testing.T) {
	for name, test := range map[string]struct {
		settings machine.Agent
		want     string // the command line
		token    string
	}{
		"ephemeral": {machine.Agent{Mode: machine.Token, URL: "https://github.com/acme/api", Name: "ci-aaaa", Ephemeral: true},
			"configure --unattended --url https://github.com/acme/api --name ci-aaaa --work _work --disableupdate --ephemeral", "secret"},
		"with labels and a group": {machine.Agent{Mode: machine.Token, URL: "u", Name: "n", Labels: []string{"gpu", "large"}, Group: "builders", Ephemeral: true},
			"configure --unattended --url u --name n --work _work --disableupdate --labels gpu,large --runnergroup builders --ephemeral", "secret"},
		"static": {machine.Agent{Mode: machine.Token, URL: "u", Name: "n", Group: "Default"},
			"configure --unattended --url u --name n --work _work --disableupdate", "secret"},
		"without runnerctl": {machine.Agent{Mode: machine.AccessToken, URL: "u", Name: "n", API: "https://api", Work: "/work", NoGitHubLabels: true},
			"configure --unattended --url u --name n --work /work --disableupdate --replace --no-default-labels", "token for access at https://api with secret"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t, test.settings, strings.NewReader("secret\n"))
			s.write(Home+"/.runner_migrated", "of an earlier registration")
			s.started = func(listener *fake) { listener.end(0) }
			if code := s.Run(); code != 0 {
				t.Errorf("%s: code %d, want 0\n%s", name, code, s.log())
			}
			configure := s.commands[0]
			if got := strings.Join(configure.Args, " "); got != test.want {
				t.Errorf("%s: got\n%s\nwant\n%s", name, got, test.want)
			}
			if !slices.Equal(configure.Env, []string{"ACTIONS_RUNNER_INPUT_TOKEN=" + test.token}) {
				t.Errorf("%s: environment %q, want the token %q", name, configure.Env, test.token)
			}
			if s.read(files+"/.credentials") != "of .credentials" || s.read(files+"/.runner_migrated") != "missing" {
				t.Errorf("%s: files are not those of the registration", name)
			}
			if static := strings.Contains(s.log(), "bind"); static == test.settings.Ephemeral {
				t.Errorf("%s: files on the volume: %t, want %t", name, static, !static)
			}
		})
	}
}

func TestRegistrationThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, machine.Agent{Mode: machine.Token, URL: "https://github.com/acme/api", Ephemeral: true}, strings.NewReader("secret\n"))
		s.configure = func() int { return 3 }
		if code := s.Run(); code != codeNoSetup || !strings.Contains(s.log(), "the registration with https://github.com/acme/api failed with code 3") {
			t.Errorf("code %d, want %d:\n%s", code, codeNoSetup, s.log())
		}
		s = newStage(t, machine.Agent{Mode: machine.App, URL: "https://github.com/acme/api", API: "x"}, strings.NewReader("secret\n"))
		s.Exchange = func(context.Context, machine.AgentMode, string, string) (string, error) {
			return "", errors.New("no answer")
		}
		if code := s.Run(); code != codeNoSetup || !strings.Contains(s.log(), "no answer") || !strings.Contains(s.log(), "no registration token for https://github.com/acme/api") || strings.Contains(s.log(), "secret") {
			t.Errorf("code %d, want %d:\n%s", code, codeNoSetup, s.log())
		}
	})
}

// A static runner that is started again keeps its registration.
func TestStaticRunnerStartsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, machine.Agent{Mode: machine.Token, URL: "u", Name: "n"}, strings.NewReader(""))
		for _, name := range names {
			s.write(files+"/"+name, "kept")
		}
		s.write(files+"/.credentials_migrated", "kept")
		s.started = func(listener *fake) { listener.end(0) }
		if code := s.Run(); code != 0 || len(s.commands) != 1 || !strings.Contains(s.log(), "clean /home/runner/actions-runner/_work") {
			t.Errorf("code %d, %d commands, want 0 and the listener alone\n%s", code, len(s.commands), s.log())
		}
		if target, err := os.Readlink(filepath.Join(s.root, Home, ".credentials_migrated")); err != nil {
			t.Errorf("link %q %v, want one to the migrated file", target, err)
		}
	})
}

func TestDeletedRegistration(t *testing.T) {
	static := machine.Agent{Mode: machine.Token, URL: "u", Name: "n"}
	for name, end := range map[string]func(*stage, *fake){
		"the listener deletes its files": func(s *stage, listener *fake) {
			if err := os.Remove(filepath.Join(s.root, Home, ".runner")); err != nil {
				s.t.Error(err)
			}
			listener.end(0)
		},
		"the listener logs it": func(s *stage, listener *fake) {
			s.write(Home+"/_diag/Runner_20260101-1.log", "nothing")
			s.write(Home+"/_diag/Runner_20260102-1.log", "the runner registration has been deleted from the server")
			listener.end(1)
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t, static, strings.NewReader("secret\n"))
			s.started = func(listener *fake) { end(s, listener) }
			if code := s.Run(); code != codeDeleted || !strings.Contains(s.log(), "GitHub has deleted this runner's registration: another start") || s.read(files+"/.credentials") != "missing" {
				t.Errorf("%s: code %d, want %d, and no files\n%s", name, code, codeDeleted, s.log())
			}
			// Another start without a credential says so.
			again := newStage(t, static, strings.NewReader(""))
			again.Root, again.root = s.root, s.root
			if code := again.Run(); code != codeDeleted || !strings.Contains(again.log(), "deleted this runner's registration, and there is no credential for a new one: runnerctl up creates another runner") {
				t.Errorf("%s: another start: code %d, want %d\n%s", name, code, codeDeleted, again.log())
			}
		})
	}
	synctest.Test(t, func(t *testing.T) { // another failure is none
		s := newStage(t, static, strings.NewReader("secret\n"))
		s.started = func(listener *fake) { listener.end(1) }
		if code := s.Run(); code != 1 {
			t.Errorf("code %d, want 1\n%s", code, s.log())
		}
	})
}

func TestStop(t *testing.T) {
	for name, test := range map[string]struct {
		busy, deaf bool
		script     func(*stage)
		code       int
		want       []string // of the log
	}{
		"an idle listener":                   {false, false, nil, 0, []string{"10 signal interrupt"}},
		"one that ignores its first signals": {false, true, func(s *stage) { time.Sleep(5 * time.Second); s.listener.end(130) }, 0, []string{"10 signal interrupt", "13 signal interrupt"}},
		"a job ends by itself":               {true, false, func(s *stage) { time.Sleep(20 * time.Second); s.listener.end(0) }, 0, nil},
		"a job is cancelled":                 {true, true, func(s *stage) { time.Sleep(75 * time.Second); s.listener.end(0) }, 0, []string{"40 signal interrupt"}},
		"the listener's own code":            {true, true, func(s *stage) { time.Sleep(time.Second); s.listener.end(7) }, 7, nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t, machine.Agent{Mode: machine.JIT, Ephemeral: true}, strings.NewReader(jit(t, whole)+"\n"))
			s.started = func(listener *fake) { listener.busy, listener.deaf = test.busy, test.deaf }
			code := make(chan int)
			go func() { code <- s.Run() }()
			time.Sleep(10 * time.Second)
			s.Stop()
			synctest.Wait()
			if test.script != nil {
				test.script(s)
			}
			if got := <-code; got != test.code {
				t.Errorf("%s: code %d, want %d", name, got, test.code)
			}
			var signals []string
			for line := range strings.Lines(s.log()) {
				if strings.Contains(line, "signal") {
					signals = append(signals, strings.TrimSpace(line))
				}
			}
			if !slices.Equal(signals, test.want) {
				t.Errorf("%s: got %q, want %q", name, signals, test.want)
			}
		})
	}
}

// Code 2 requests another start, but not for ever, and not after a stop.
func TestListenerThatAsksForAnotherStart(t *testing.T) {
	for name, test := range map[string]struct {
		life    time.Duration
		starts  int
		stop    time.Duration // 0: never
		want    int
		elapsed time.Duration
	}{
		"five ends soon":       {time.Second, 5, 0, 2, 25 * time.Second},
		"long lives":           {time.Hour, 8, 0, 0, 8*time.Hour + 35*time.Second},
		"a stop in the pause":  {time.Second, 1, 3 * time.Second, 0, 3 * time.Second},
		"the third start runs": {time.Second, 3, 0, 0, 13 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t, machine.Agent{Mode: machine.JIT, Ephemeral: true}, strings.NewReader(jit(t, whole)+"\n"))
			began, count := time.Now(), 0
			s.started = func(listener *fake) {
				count++
				last := count == test.starts && test.want == 0 && test.stop == 0
				go func() {
					time.Sleep(test.life)
					if last {
						listener.end(0)
					} else {
						listener.end(2)
					}
				}()
			}
			if test.stop > 0 {
				time.AfterFunc(test.stop, s.Stop)
			}
			if code := s.Run(); code != test.want || count != test.starts {
				t.Errorf("%s: code %d after %d starts, want %d after %d\n%s", name, code, count, test.want, test.starts, s.log())
			}
			if elapsed := time.Since(began); elapsed != test.elapsed {
				t.Errorf("%s: took %s, want %s", name, elapsed, test.elapsed)
			}
		})
	}
}

// The listener may write its files again, or write migrated ones and withdraw them.
func TestFilesThatTheListenerWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, machine.Agent{Mode: machine.JIT, Ephemeral: true}, strings.NewReader(jit(t, whole)+"\n"))
		count := 0
		s.started = func(listener *fake) {
			if count++; count == 1 {
				if err := os.Remove(filepath.Join(s.root, Home, ".runner")); err != nil {
					t.Error(err)
				}
				s.write(Home+"/.runner", "written again")
				s.write(Home+"/.runner_migrated", "migrated")
				listener.end(2)
				return
			}
			if s.read(files+"/.runner") != "written again" || s.read(files+"/.runner_migrated") != "migrated" {
				t.Errorf("files: %q, %q, want what the listener wrote", s.read(files+"/.runner"), s.read(files+"/.runner_migrated"))
			}
			if err := os.Remove(filepath.Join(s.root, Home, ".runner_migrated")); err != nil {
				t.Error(err)
			}
			listener.end(0)
		}
		if code := s.Run(); code != 0 || s.read(files+"/.runner_migrated") != "missing" {
			t.Errorf("code %d, want 0; %q, want it withdrawn\n%s", code, s.read(files+"/.runner_migrated"), s.log())
		}
	})
}

// Without runnerctl, a container may be started again for ever.
func TestBackOff(t *testing.T) {
	for failures, want := range map[int]time.Duration{0: 0, 1: 2 * time.Second, 2: 4 * time.Second, 5: 32 * time.Second, 6: time.Minute, 100: time.Minute} {
		if got := startPause(failures); got != want {
			t.Errorf("after %d failures: %s, want %s", failures, got, want)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, machine.Agent{Mode: machine.Token, URL: "u", API: "x", Ephemeral: true}, strings.NewReader("secret\n"))
		s.write(starts, "3\n")
		s.started = func(listener *fake) {
			if got := s.read(starts); got != "4\n" {
				t.Errorf("starts: %q, want 4", got)
			}
			listener.end(0)
		}
		if code := s.Run(); code != 0 || !strings.Contains(s.log(), "0 waiting 8s: the last 3 starts failed soon") || s.read(starts) != "missing" {
			t.Errorf("code %d, starts %q, want 0 and none\n%s", code, s.read(starts), s.log())
		}
	})
}

func TestWorkFolderElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, machine.Agent{Mode: machine.JIT, Ephemeral: true, Work: "/elsewhere/deep"}, strings.NewReader(jit(t, whole)+"\n"))
		s.started = func(listener *fake) { listener.end(0) }
		s.Run()
		if info, err := os.Stat(filepath.Join(s.root, "elsewhere/deep")); err != nil || info.Sys().(*syscall.Stat_t).Uid != 1001 {
			t.Errorf("%v %v, want a folder of runner", info, err)
		}
	})
}

package doctor

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/fstest"
)

func good() Facts {
	return Facts{
		ClientOS: "linux", Endpoint: "unix:///var/run/docker.sock", Local: true, OperatingSystem: "Debian GNU/Linux 13",
		EngineVersion: "26.1.5+dfsg1", APIVersion: "1.45", KernelVersion: "6.12.1", StorageDriver: "overlay2",
		SecurityOptions: []string{"name=apparmor", "name=seccomp,profile=builtin"}, NCPU: 2, MemTotal: 8 << 30, FreeDisk: 50 << 30,
		Count: 1, MemoryPerRunner: 4 << 30,
		Root: fstest.MapFS{
			"proc/self/uid_map":                 {Data: []byte("         0          0 4294967295\n")},
			"proc/sys/user/max_user_namespaces": {Data: []byte("96365\n")},
			"dev/net/tun":                       {Mode: 0o666},
		},
	}
}

func with(f Facts, path, content string) Facts {
	tree := fstest.MapFS{}
	for name, file := range f.Root.(fstest.MapFS) { //nolint:errorlint // a type of this test
		tree[name] = file
	}
	if content == "" {
		delete(tree, path)
	} else {
		tree[path] = &fstest.MapFile{Data: []byte(content)}
	}
	f.Root = tree
	return f
}

func TestEveryCheckPasses(t *testing.T) {
	report := Run(context.Background(), Catalogue(), good(), func(Result) {})
	for _, result := range report.Checks {
		if result.Status != Pass {
			t.Errorf("%s: %s %s", result.ID, result.Status, result.Observed)
		}
	}
	if report.Failed() {
		t.Error("failed")
	}
}

// Every check has at least one case in which it does not pass.
func TestEveryCheckCanFail(t *testing.T) {
	change := func(f func(*Facts)) Facts {
		facts := good()
		f(&facts)
		return facts
	}
	tests := []struct {
		id     string
		facts  Facts
		status Status
	}{
		{"host.os", change(func(f *Facts) { f.ClientOS = "darwin" }), Fail},
		{"host.memory", change(func(f *Facts) { f.Count = 3 }), Warn},
		{"host.disk", change(func(f *Facts) { f.FreeDisk = 1 << 30 }), Warn},
		{"host.disk", change(func(f *Facts) { f.FreeDisk = -1 }), Skip},
		{"engine.reachable", change(func(f *Facts) { f.EngineErr = errors.New("connection refused") }), Fail},
		{"engine.reachable", change(func(f *Facts) { f.EngineErr = errors.New("dial: permission denied") }), Fail},
		{"engine.version", change(func(f *Facts) { f.EngineVersion = "19.03.15" }), Fail},
		{"engine.version", change(func(f *Facts) { f.EngineErr = errors.New("no") }), Skip},
		{"engine.rootful", change(func(f *Facts) { f.SecurityOptions = append(f.SecurityOptions, "name=rootless") }), Fail},
		{"engine.rootful", change(func(f *Facts) { f.SecurityOptions = append(f.SecurityOptions, "name=userns") }), Fail},
		{"engine.rootful", with(good(), "proc/self/uid_map", "0 100000 65536\n"), Fail},
		{"engine.seccomp", change(func(f *Facts) { f.SecurityOptions = nil }), Fail},
		{"engine.storage", change(func(f *Facts) { f.StorageDriver = "vfs" }), Fail},
		{"engine.storage", change(func(f *Facts) { f.StorageDriver = "btrfs" }), Warn},
		{"kernel.version", change(func(f *Facts) { f.KernelVersion = "4.14.336-amzn2" }), Fail},
		{"kernel.version", change(func(f *Facts) { f.KernelVersion = "5.10.0-28" }), Fail},
		{"userns.max", with(good(), "proc/sys/user/max_user_namespaces", "0"), Fail},
		{"userns.max", with(good(), "proc/sys/user/max_user_namespaces", "100"), Warn},
		{"userns.max", with(good(), "proc/sys/user/max_user_namespaces", ""), Fail},
		{"userns.clone", with(good(), "proc/sys/kernel/unprivileged_userns_clone", "0"), Fail},
		{"userns.apparmor", with(good(), "proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"), Fail},
		{"userns.apparmor", with(with(good(), "proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"), "sys/kernel/security/apparmor/profiles", "runnerctl-runner (enforce)\n"), Pass},
		{"devices.tun", with(good(), "dev/net/tun", ""), Fail},
		{"devices.tun", with(good(), "dev/net/tun", "x"), Fail}, // mode 0
		{"devices.tun", change(func(f *Facts) { f.Root = nil }), Skip},
	}
	failing := map[string]bool{}
	for _, test := range tests {
		report := Run(context.Background(), Catalogue(), test.facts, func(Result) {})
		for _, result := range report.Checks {
			if result.ID == test.id && result.Status != test.status {
				t.Errorf("%s: %s (%s), want %s", test.id, result.Status, result.Observed, test.status)
			}
			if result.ID == test.id && result.Status == Fail && result.Severity == Mandatory && !report.Failed() {
				t.Errorf("%s fails, the report does not", test.id)
			}
			if (result.Status == Fail || result.Status == Warn) && result.Remedy.Text == "" {
				t.Errorf("%s: no remedy", result.ID)
			}
		}
		if test.status == Fail || test.status == Warn {
			failing[test.id] = true
		}
	}
	for _, check := range Catalogue() {
		if !failing[check.ID] {
			t.Errorf("%s has no failing case", check.ID)
		}
	}
}

func TestCrashIsTold(t *testing.T) {
	report := Run(context.Background(), []Check{{ID: "x", Severity: Mandatory, Run: func(Facts) Outcome { panic("boom") }}}, good(), func(Result) {})
	if report.Checks[0].Status != Crash || !report.Failed() {
		t.Errorf("%+v", report)
	}
}

func TestRefuseLocal(t *testing.T) {
	tests := []struct {
		os, endpoint string
		refused      bool
	}{
		{"linux", "unix:///var/run/docker.sock", false},
		{"darwin", "unix:///Users/a/.docker/run/docker.sock", true},
		{"darwin", "", true},
		{"darwin", "ssh://user@vm", false},
		{"darwin", "tcp://10.0.0.5:2376", false},
		{"windows", "npipe:////./pipe/docker_engine", true},
		{"windows", "ssh://user@vm", false},
	}
	for _, test := range tests {
		if err := RefuseLocal(test.os, test.endpoint); (err != nil) != test.refused {
			t.Errorf("%s %s: %v", test.os, test.endpoint, err)
		}
	}
}

func TestWriteText(t *testing.T) {
	plain := func(s string) string { return s }
	var out strings.Builder
	facts := with(good(), "dev/net/tun", "x")
	WriteText(&out, Run(context.Background(), Catalogue(), facts, func(Result) {}), Style{OK: plain, Fail: plain, Warn: plain, Dim: plain})
	for _, want := range []string{"✘ devices.tun       /dev/net/tun has mode 0000", "fix  chmod 0666 /dev/net/tun", "1 failed · 12 passed\nPaste as root:\n    chmod 0666 /dev/net/tun\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

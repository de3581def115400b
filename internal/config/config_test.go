package config

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestWriteLoadsBack(t *testing.T) {
	odd := Default()
	odd.Name, odd.Target = "build-1", "https://github.com/acme/api"
	odd.Image.Packages = []string{"g++", "libssl-dev"}
	odd.Image.Dockerfile = "RUN echo \"a: b # c\"\nRUN true"
	odd.Image.Agent = Agent{Version: "2.330.0", Archive: "agents/a.tar.gz", SHA256: strings.Repeat("0a", 32)}
	odd.Runners.Runtime, odd.Runners.Syscalls, odd.Runners.Devices = "sysbox-runc", []string{"perf"}, []string{"fuse", "kvm"}
	odd.Image.Profile, odd.Image.Buildx = "hosted", Buildx{Version: "0.31.1", Archive: "buildx-v0.31.1.linux-amd64", SHA256: strings.Repeat("0b", 32)}
	odd.Runners.Env = map[string]string{"TZ": "Europe/Berlin", "GREETING": `a "quoted" $HOME # text`}
	odd.Runners.Proxy = Proxy{HTTP: "http://proxy:3128", HTTPS: "http://proxy:3128", NoProxy: []string{".corp.example.com", "10.0.0.0/8"}}
	none := 0
	odd.Hosts = []Host{{Name: "vm1", Address: "ssh://ci@vm1:2222"}, {Name: "vm2", Address: "work", Count: &none}}
	odd.Runners.Dockerd = Dockerd{"log-driver": "local", "insecure-registries": []any{"10.0.0.0/8"}, "features": Dockerd{"buildkit": true}, "max-concurrent-uploads": 3}
	odd.Runners.Memory, odd.Runners.CPUs = 512<<20, 0.5
	odd.Docker = Docker{Start: "on-demand", IdleStop: Duration(90 * time.Second)}
	odd.Cache = Cache{
		Size: 50 << 30, Registries: []string{"docker.io", "ghcr.io"}, Upstreams: map[string]string{"ghcr.io": "https://ghcr.example.com"},
		Logins: map[string]Login{"docker.io": {Username: "me", PasswordFile: "hub.txt"}}, Preload: []string{"node:22"}, Tools: []string{"node@22"}, ToolsFrom: "https://tools.example.com",
	}
	for _, want := range []Config{Default(), odd} {
		if want.Image.Packages == nil {
			want.Image.Packages = []string{}
		}
		if want.Runners.Syscalls == nil {
			want.Runners.Syscalls, want.Runners.Devices = []string{}, []string{}
		}
		if want.Runners.Env == nil {
			want.Runners.Env, want.Runners.Proxy.NoProxy = map[string]string{}, []string{}
		}
		if want.Hosts == nil {
			want.Hosts = []Host{}
		}
		var text bytes.Buffer
		if err := Write(&text, want); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), DefaultFile)
		if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		want.Dir = filepath.Dir(path)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v\nwant %+v", got, want)
		}
	}
}

func TestDriverMTU(t *testing.T) {
	for want, network := range map[int]Network{
		21885: {Driver: "slirp4netns"},
		65520: {Driver: "pasta"},
		1400:  {Driver: "slirp4netns", MTU: 1400},
	} {
		if got := network.DriverMTU(); got != want {
			t.Errorf("%+v: %d, want %d", network, got, want)
		}
	}
}

// loadErrors are settings with a mistake, each with the error after the name of its file.
var loadErrors = []struct{ text, want string }{
	{"cache: on\n", ":1: cache: on: expected a section of keys, or off"},
	{"cache: {sise: 1GiB}\n", `:1: unknown key "sise" in cache: did you mean "size"?`},
	{"cache: {upstreams: {docker.io: registry}}\n", `:1: cache.upstreams: "registry" is not a URL like https://registry.example.com`},
	{"cache: {logins: {ghcr.io: {username: me, passwordFile: f}}}\n", `:1: cache.logins: "ghcr.io" is not one of cache.registries`},
	{"cache: {logins: {docker.io: {username: me}}}\n", `:1: cache.logins: docker.io: expected a username and a passwordFile`},
	{"cache: {upstreams: {ghcr.io: \"https://registry\"}}\n", `:1: cache.upstreams: "ghcr.io" is not one of cache.registries`},
	{"cache: {tools: [node@22]}\n", `:1: cache.tools: requires a cache: set cache.size`},
	{"cache: {size: 1GiB, tools: [ruby@3]}\n", `:1: cache.tools: "ruby@3": expected a version of go, node, python, like node@22`},
	{"cache: {size: 1GiB, tools: [go@1, go@1]}\n", `:1: cache.tools: "go@1" is listed twice`},
	{"cache: {toolsFrom: actions}\n", `:1: cache.toolsFrom: "actions" is not a URL like https://raw.githubusercontent.com/actions`},
	{"cache: {toolsFrom: 'https://me:secret@example.com'}\n", ":1: cache.toolsFrom: a login in it would be readable in the runner"},
	{"cache: {upstreams: {docker.io: 'https://me:secret@example.com'}}\n", ":1: cache.upstreams: docker.io: a login in it would be readable in the container: use cache.logins"},
	{"cache: {preload: [node]}\n", `:1: cache.preload: requires a cache: set cache.size`},
	{"cache: {size: 1GiB, preload: [node, node]}\n", `:1: cache.preload: "node" is listed twice`},
	{"cache: {size: 1GiB, preload: [\"no de\"]}\n", `:1: cache.preload: "no de" is not an image: invalid reference format`},
	{"cache: {size: 1MiB}\n", ":1: cache.size: 1MiB: expected 1GiB or more, or 0 for no cache"},
	{"cache: {registries: [\"https://ghcr.io\"]}\n", `:1: cache.registries: "https://ghcr.io" is not the name of a registry, like docker.io`},
	{"docker: {start: lazy}\n", `:1: docker.start: "lazy": expected eager or on-demand`},
	{"docker: {idleStop: 1ms}\n", ":1: docker.idleStop: 1ms: expected 0 or at least 1s"},
	{"runners:\n  cout: 3\n", `:2: unknown key "cout" in runners: did you mean "count"?`},
	{"colour: red\n", `:1: unknown key "colour"`},
	{"name: a\nrunners:\n  count: three\n", ":3: runners.count: three: expected a whole number"},
	{"runners:\n  count: 2.5\n", ":2: runners.count: 2.5: expected a whole number"},
	{"runners:\n  count: \"\"\n", `:2: runners.count: "": expected a whole number`},
	{"runners:\n  count: [1]\n", ":2: runners.count: a list: expected a whole number"},
	{"runners:\n  cpus: .nan\n", ":2: runners.cpus: NaN: expected more than 0"},
	{"runners:\n  cpus: .inf\n", ":2: runners.cpus: +Inf: expected more than 0, at most 8192"},
	{"runners:\n  memory: [1]\n", ":2: runners.memory: a list: expected a size, like 4GiB"},
	{"runners:\n  readyTimeout: {a: 1}\n", ":2: runners.readyTimeout: a section of keys: expected a duration, like 60s"},
	{"runners:\n  dockerd: fast\n", ":2: runners.dockerd: fast: expected a section of keys"},
	{"runners:\n  dockerd:\n    data-root: /x\n", ":2: runners.dockerd: data-root can't be set"},
	{"runners: 3\n", ":1: runners: 3: expected a section of keys"},
	{"- runners\n", ":1: a list: expected a section of keys"},
	{"image:\n  packages: git\n", ":2: image.packages: git: expected a list of elements, each a string"},
	{"image:\n  packages: [git, {a: b}]\n", ":2: image.packages: a section of keys: expected a string"},
	{"hosts: x\n", ":1: hosts: x: expected a list of elements, each a section of keys"},
	{"hosts: [{name: a, address: x, count: many}]\n", ":1: hosts.count: many: expected a whole number"},
	{"count: 3\n", `:1: unknown key "count": did you mean runners.count or hosts.count?`},
	{"github: {target: x}\n", `:1: unknown key "target" in github: did you mean target at the top level?`},
	{"runners:\n  base: x\n", `:2: unknown key "base" in runners: did you mean image.base?`},
	{"a: &a {cout: 3}\nrunners: {<<: *a}\n", `:1: unknown key "a"`},
	{"runners: {<<: {cout: 3}}\n", `:1: unknown key "cout" in runners: did you mean "count"?`},
	{"image: &a {<<: *a}\n", ": anchor 'a' value contains itself"},
	{"name: a\n---\nname: b\n", ":2: a second document: expected one"},
	{"name: a\nname: b\n", `:2: mapping key "name" already defined at line 1`},
	{"runners:\n  count: -1\n", ":2: runners.count: -1: expected 1 to 200"},
	{"runners:\n  count: 10000\n", ":2: runners.count: 10000: expected 1 to 200"},
	{"runners:\n  memory: lots\n", `:2: "lots" is not a size`},
	{"runners:\n  readyTimeout: 5\n", `:2: "5" is not a duration`},
	{"image:\n  sudo: maybe\n", ":2: image.sudo: maybe: expected true or false"},
	{"image:\n  base: \"a\\nRUN evil\"\n", ":2: image.base: "},
	{"image:\n  base: Debian:13\n", `:2: image.base: "Debian:13" is not an image: invalid reference format: repository name (library/Debian) must be lowercase`},
	{"image:\n  outerBase: \"a b\"\n", `:2: image.outerBase: "a b" is not an image: invalid reference format`},
	{"image:\n  packages: [\"a b\"]\n", ":2: image.packages: "},
	{"image:\n  agent:\n    version: newest\n", `:3: image.agent.version: "newest": expected latest, or a version like 2.330.0`},
	{"image:\n  agent:\n    sha256: abc\n", ":3: image.agent.sha256: "},
	{"image:\n  agent:\n    archive: https://x/a.tar.gz\n", ":3: image.agent.archive: a URL needs image.agent.sha256"},
	{"image:\n  agent:\n    archive: ftp://x/a.tar.gz\n", ":3: image.agent.archive: "},
	{"image:\n  profile: huge\n", `:2: image.profile: "huge": expected minimal, standard, hosted`},
	{"image:\n  buildx:\n    version: new\n", `:3: image.buildx.version: "new": expected latest, distribution, or a version like 0.31.1`},
	{"image:\n  buildx:\n    archive: https://x/buildx\n", ":3: image.buildx.archive: a URL needs image.buildx.sha256"},
	{"runners:\n  env: [a]\n", ":2: runners.env: a list: expected names, each with a string"},
	{"runners:\n  env:\n    A: {b: c}\n", ":3: runners.env.A: a section of keys: expected a string"},
	{"runners:\n  env: {A: 1, \"a b\": x}\n", `:2: runners.env: "a b" is not the name of a variable`},
	{"runners:\n  env: {HOME: /x}\n", ":2: runners.env: HOME is set by the runner itself"},
	{"runners:\n  env: {GITHUB_TOKEN: x}\n", ":2: runners.env: GITHUB_TOKEN is set by the runner itself"},
	{"runners:\n  env: {https_proxy: x}\n", ":2: runners.env: https_proxy: runners.proxy sets it"},
	{"runners:\n  env: {A: \"b\\nc\"}\n", ":2: runners.env: A: expected one line"},
	{"runners:\n  proxy: {http: proxy}\n", ":2: runners.proxy.http: expected a URL like http://proxy.example.com:3128"},
	{"runners:\n  proxy: {https: \"http://me:secret@proxy\"}\n", ":2: runners.proxy.https: a user or password in it would be readable"},
	{"runners:\n  proxy: {http: \"http://127.0.0.1:3128\"}\n", ":2: runners.proxy.http: 127.0.0.1:3128 is the runner itself in a container"},
	{"runners:\n  proxy: {noProxy: [\"a,b\"]}\n", `:2: runners.proxy.noProxy: "a,b": expected a host's name`},
	{"runners:\n  runtime: \"a b\"\n", ":2: runners.runtime: "},
	{"name: a\nhosts: [{name: a b, address: x}]\n", `:2: hosts: name "a b": expected letters`},
	{"hosts: [{name: a}]\n", ":1: hosts: a has no address"},
	{"hosts:\n- {name: a, address: x}\n- {name: a, address: y}\n", ":1: hosts: a is listed twice"},
	{"hosts:\n- {name: a, address: x, count: 201}\n", ":1: hosts: a: count 201: expected 0 to 200"},
	{"hosts:\n- name: a\n  adddress: x\n", `:3: unknown key "adddress" in hosts: did you mean "address"?`},
	{"network:\n  driver: magic\n", ":2: network.driver: "},
	{"network:\n  mtu: 500\n", ":2: network.mtu: 500: expected 576 to 65520"},
	{"name: A B\n", ":1: name: "},
	{"target: http://github.com/a/b\n", ":1: target: "},
	{"a: [\n", ":1: "},
}

// Each mistake in the settings leads to an error with the file, the line and the key.
func TestLoadErrors(t *testing.T) {
	for _, test := range loadErrors {
		path := filepath.Join(t.TempDir(), "f.yaml")
		if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Load(path)
		if err == nil || !strings.Contains(err.Error(), "f.yaml"+test.want) {
			t.Errorf("%q: got %v, want …%s", test.text, err, test.want)
		}
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]Size{"4GiB": 4 << 30, "4g": 4 << 30, "512M": 512 << 20, "1.5GB": 3 << 29, "1073741824": 1 << 30, "10 KiB": 10 << 10} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%s: got %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-1", "4X", "lots", "9999999T"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("%q: got %d, want an error", text, got)
		}
	}
}

package templates

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/runnerctl/runnerctl/internal/golden"
)

// sizes of the profiles' images unpacked, measured by hand with debian:trixie-slim and the
// distribution's buildx; of hosted it is apt's own reckoning.
var sizes = map[Profile]string{
	Minimal:  "729 MB",
	Standard: "758 MB",
	Hosted:   "3.35 GB: 947 packages, 769 MB to fetch",
}

var uses = map[Profile]string{
	Minimal:  "Docker with buildx and compose, git, and little more: for jobs that run in containers",
	Standard: "the small tools of GitHub's own machines: the default",
	Hosted:   "languages, compilers and clients too, as far as Debian's packages have them",
}

// The page of the profiles is made of their lists.
func TestProfilesPage(t *testing.T) {
	var text strings.Builder
	text.WriteString("# Profiles\n\n`image.profile` in runnerctl.yaml chooses the packages that jobs find. Each profile has all of the one before it; `image.packages` adds others.\n" +
		"A package that a distribution does not have fails the build, but for those marked with \"?\": the build names them and goes on. At its end the build looks for every program. (Written by a test; `make golden` rewrites it.)\n\n" +
		"| profile | has | image, unpacked |\n|---|---|---|\n")
	for _, profile := range Profiles() {
		fmt.Fprintf(&text, "| `%s` | %s | %s |\n", profile, uses[profile], sizes[profile])
	}
	text.WriteString("\nThe sizes are of `debian:trixie-slim` with Docker 26.1, without GitHub's agent and with the distribution's buildx.\n\n" +
		"## Against ubuntu-24.04\n\n" +
		"GitHub's own image has some 60 GB. `hosted` has the part of its list that the distribution packages, in the distribution's one version each:\n" +
		"versions of Node, Python, Ruby, Go or Java that a workflow asks for come by the setup actions, into `/opt/hostedtoolcache`. With a Debian world setup-python and setup-ruby find no builds, which exist for Ubuntu only: `image.base: ubuntu:24.04`.\n" +
		"Not in it: the tools of clouds (aws, az, gcloud), .NET, Swift, Haskell, PowerShell, Homebrew, Android's SDK, Chrome, Firefox and Edge with their drivers, servers of databases (`apt-get install` starts them), Helm, Terraform and others that no distribution packages. `image.packages` and `image.dockerfile` add what a fleet needs.\n")
	for _, profile := range Profiles() {
		fmt.Fprintf(&text, "\n## %s\n\n| package | program |\n|---|---|\n", profile)
		if profile == Minimal {
			text.WriteString("| docker.io, docker-cli, docker-buildx, docker-compose (docker-compose-v2 on Ubuntu), sudo | `docker` |\n")
		}
		for _, word := range slices.Sorted(slices.Values(strings.Fields(added[profile]))) {
			one := pack(word)
			name, program := strings.Join(one.Names, " or "), one.Program
			if one.Optional {
				name += " ?"
			}
			if program != "" {
				program = "`" + program + "`"
			}
			fmt.Fprintf(&text, "| %s | %s |\n", name, program)
		}
	}
	golden.Check(t, "../docs/profiles.md", []byte(text.String()))
}

func TestProfiles(t *testing.T) {
	program := regexp.MustCompile(`^[A-Za-z0-9_.+-]*$`)
	var before []Package
	for _, profile := range Profiles() {
		seen := map[string]bool{}
		all := profile.Packages()
		for _, one := range all {
			for _, name := range one.Names {
				if !packagePattern.MatchString(name) || seen[name] {
					t.Errorf("%s: package %q, twice: %t", profile, name, seen[name])
				}
				seen[name] = true
			}
			if !program.MatchString(one.Program) {
				t.Errorf("%s: program %q", profile, one.Program)
			}
		}
		for _, one := range before {
			if !seen[one.Names[0]] {
				t.Errorf("%s lacks %v", profile, one.Names)
			}
		}
		before = all
	}
	if all := Profile("other").Packages(); all != nil {
		t.Errorf("an unknown profile has %v", all)
	}
	list := string(Hosted.List())
	for _, line := range []string{"bind9-dnsutils|dnsutils ! dig\n", "gh ? gh\n", "libatomic1 !\n", "git ! git\n"} {
		if !strings.Contains(list, line) {
			t.Errorf("no %q in\n%s", line, list)
		}
	}
}

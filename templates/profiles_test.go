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
	Minimal:  "631 MB",
	Standard: "659 MB",
	Hosted:   "3.25 GB: 947 packages, 769 MB to fetch",
}

var uses = map[Profile]string{
	Minimal:  "Docker with buildx and compose, git, and little more: for jobs that run in containers",
	Standard: "the small tools of GitHub's own machines (the default)",
	Hosted:   "languages, compilers and clients too, as far as Debian's packages have them",
}

// The page of the profiles is made of their lists.
func TestProfilesPage(t *testing.T) {
	var text strings.Builder
	text.WriteString("# Profiles\n\n`image.profile` in runnerctl.yaml selects the packages for jobs. Each profile includes the previous one; `image.packages` adds other packages.\n" +
		"The build fails if a distribution lacks a package, except for packages marked with \"?\": the build reports them and continues. At its end, the build checks that every program exists. (Written by a test; `make golden` rewrites it.)\n\n" +
		"| profile | has | image, unpacked |\n|---|---|---|\n")
	for _, profile := range Profiles() {
		fmt.Fprintf(&text, "| `%s` | %s | %s |\n", profile, uses[profile], sizes[profile])
	}
	text.WriteString("\nThe sizes are of `debian:trixie-slim` with Docker 26.1, without GitHub's agent and with the distribution's buildx.\n\n" +
		"## Against ubuntu-24.04\n\n" +
		"GitHub's own image has about 60 GB. `hosted` has the packages of its list that the distribution has, in the distribution's version:\n" +
		"the setup actions install other versions of Node, Python, Ruby, Go or Java into `/opt/hostedtoolcache`. On a Debian base image, setup-python and setup-ruby find no builds, because builds exist only for Ubuntu: use `image.base: ubuntu:24.04`.\n" +
		"It does not include cloud tools (aws, az, gcloud), .NET, Swift, Haskell, PowerShell, Homebrew, Android's SDK, Chrome, Firefox and Edge with their drivers, database servers (`apt-get install` starts them), Helm, Terraform and other programs that no distribution packages. `image.packages` and `image.dockerfile` add them.\n")
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

package doctor

import (
	"fmt"
	"strconv"
	"strings"
)

var worldChecks = []Check{
	{ID: "world.buildx", Title: "buildx", Group: "Runner image", Severity: Advice, Needs: NeedsEngine, Run: worldBuildx,
		Why: "GitHub's cache service needs buildx 0.21 or newer, and setup-buildx-action keeps the installed version"},
}

// World describes the job root filesystem of the newest runner image on the engine.
type World struct {
	Image   string // "" if there is no image
	Profile string // profile of its packages; "" in an image older than profiles
	Buildx  string // version, or the program's hash; "distribution" for the distribution's package
}

func worldBuildx(f Facts) Outcome {
	world := f.World
	if world.Image == "" {
		return skip("no runner image yet")
	}
	profile := "profile " + world.Profile
	if world.Profile == "" {
		profile = "no profile"
	}
	if world.Buildx == "" || world.Buildx == "distribution" {
		return Outcome{Warn, fmt.Sprintf("%s (%s) has the distribution's buildx", world.Image, profile),
			advice("if the distribution's version is older than 0.21, as Debian's is: runnerctl build --no-cache if GitHub can be reached, or set image.buildx.archive")}
	}
	if older(world.Buildx, 0, 21) {
		return Outcome{Warn, fmt.Sprintf("%s (%s) has buildx %s", world.Image, profile, world.Buildx), advice("set image.buildx to 0.21 or newer, or leave it at latest")}
	}
	return pass("%s: %s, buildx %s", world.Image, profile, world.Buildx)
}

// older reports whether a version like 0.31.1 is before major.minor. It is false for a text
// that is not a version.
func older(version string, major, minor int) bool {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return false
	}
	first, err := strconv.Atoi(parts[0])
	second, err2 := strconv.Atoi(parts[1])
	return err == nil && err2 == nil && (first < major || first == major && second < minor)
}

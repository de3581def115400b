package doctor

import (
	"fmt"
	"strconv"
	"strings"
)

var rootfsChecks = []Check{
	{ID: "rootfs.buildx", Title: "buildx", Group: "Runner image", Severity: Advice, Needs: NeedsEngine, Run: rootfsBuildx,
		Why: "GitHub's cache service needs buildx 0.21 or newer, and setup-buildx-action keeps the installed version"},
}

// Rootfs describes the job root filesystem of the fleet's image; without runners, of the newest
// runner image on the engine.
type Rootfs struct {
	Image   string // "" if there is no image
	Profile string // profile of its packages; "" in an image older than profiles
	Buildx  string // version, or the program's hash; "distribution" for the distribution's package
}

func rootfsBuildx(f Facts) Outcome {
	rootfs := f.Rootfs
	if rootfs.Image == "" {
		return skip("no runner image yet")
	}
	profile := "profile " + rootfs.Profile
	if rootfs.Profile == "" {
		profile = "no profile"
	}
	if rootfs.Buildx == "" || rootfs.Buildx == "distribution" {
		return Outcome{Warn, fmt.Sprintf("%s (%s) has the distribution's buildx", rootfs.Image, profile),
			advice("if the distribution's version is older than 0.21, as Debian's is: runnerctl build --no-cache if GitHub can be reached, or set image.buildx.archive")}
	}
	if older(rootfs.Buildx, 0, 21) {
		return Outcome{Warn, fmt.Sprintf("%s (%s) has buildx %s", rootfs.Image, profile, rootfs.Buildx), advice("set image.buildx to 0.21 or newer, or leave it at latest")}
	}
	return pass("%s: %s, buildx %s", rootfs.Image, profile, rootfs.Buildx)
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

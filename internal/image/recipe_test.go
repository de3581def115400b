package image

import (
	"strings"
	"testing"

	"github.com/runnerctl/runnerctl/internal/config"
)

// The profiles that the settings accept are those that the recipe knows.
func TestProfilesOfSettings(t *testing.T) {
	for _, profile := range append(config.Profiles, "") {
		loaded := config.Default()
		loaded.Image.Profile = profile
		loaded.Image.Buildx.Version = "distribution"
		wanted, err := Source{Settings: loaded}.Recipe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if files, err := wanted.Context(); err != nil || !strings.Contains(string(files["profile"]), "\njq ! jq\n") {
			t.Errorf("%q: %v\n%s", profile, err, files["profile"])
		}
	}
}

// The hash of an image depends on the settings for buildx, not on the release that a build
// would find, so an existing image needs no lookup. Other settings give another image.
func TestHashIsOfTheWish(t *testing.T) {
	hashes := map[string]string{}
	for _, settings := range []config.Buildx{{Version: "latest"}, {Version: "0.31.1"}, {Version: "distribution"}, {}} {
		wanted := Recipe{image: config.Default().Image, ids: config.NarrowIDs}
		wanted.image.Buildx = settings
		hash, err := wanted.hash(nil)
		if err != nil {
			t.Fatal(err)
		}
		hashes[settings.Version] = hash
	}
	if hashes["latest"] == hashes["0.31.1"] || hashes["latest"] == hashes["distribution"] || hashes[""] != hashes["latest"] {
		t.Errorf("%v", hashes)
	}
}

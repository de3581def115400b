package dockerx

import (
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
)

// An image of another fleet that is newer does not count.
func TestUsedImage(t *testing.T) {
	images := []image.Summary{{ID: "newest"}, {ID: "new"}, {ID: "old"}}
	for name, test := range map[string]struct {
		used []string
		want string
	}{
		"no runners":            {nil, "newest"},
		"one image":             {[]string{"old"}, "old"},
		"two images":            {[]string{"old", "new"}, "new"},
		"an image that is gone": {[]string{"gone"}, "newest"},
	} {
		var runners []container.Summary
		for _, id := range test.used {
			runners = append(runners, container.Summary{ImageID: id})
		}
		if got := usedImage(images, runners).ID; got != test.want {
			t.Errorf("%s: got %s, want %s", name, got, test.want)
		}
	}
}

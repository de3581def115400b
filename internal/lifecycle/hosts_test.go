package lifecycle

import (
	"strings"
	"testing"

	"github.com/runnerctl/runnerctl/internal/hint"
	"github.com/runnerctl/runnerctl/internal/session"
)

// Engines with the same id would remove each other's registrations.
func TestNoTwins(t *testing.T) {
	host := func(name, id string) *hostEngine { return &hostEngine{session: session.Session{Host: name}, own: id} }
	if err := noTwins([]*hostEngine{host("one", "A"), host("two", "B")}); err != nil {
		t.Error(err)
	}
	err := noTwins([]*hostEngine{host("one", "A"), host("two", "B"), host("three", "A")})
	if err == nil || !strings.Contains(err.Error(), "hosts one and three: both engines have the id A") || !strings.Contains(hint.Of(err), "rm /etc/docker/key.json") {
		t.Error(err)
	}
}

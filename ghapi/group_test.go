package ghapi

import (
	"errors"
	"strings"
	"testing"
)

// A group that went since it was looked up, or that the target may not use, is refused
// like a token without rights: the hint has both.
func TestGroupThatIsGone(t *testing.T) {
	for _, status := range []int{403, 404} {
		f := newFake(t, "orgs/acme")
		client, _ := f.client(t, withGoodToken())
		f.faults = append(f.faults, fault{words: "generate-jitconfig", status: status, body: `{"message":"refused"}`})
		_, _, err := client.GenerateJIT(t.Context(), "one", 7, []string{"linux"}, "_work")
		var denied *AuthError
		if !errors.As(err, &denied) {
			t.Fatalf("%d: %v, want %T", status, err, denied)
		}
		if hint := denied.Hint(); !strings.Contains(hint, "runners.group no longer exists or is not open to organization acme") || !strings.Contains(hint, "Self-hosted runners (write)") {
			t.Errorf("%d: %v: %s\nwant the missing group and the permission", status, err, hint)
		}
	}
}

package fleet

import "testing"

func TestVerdict(t *testing.T) {
	for code, want := range map[int]string{0: "done", 7: "GitHub takes this version of the agent no more: rebuild the image", 99: "ended with the unknown code 99"} {
		if got := Verdict(code); got != want {
			t.Errorf("%d: %q", code, got)
		}
	}
}

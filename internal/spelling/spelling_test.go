package spelling

import "testing"

func TestNearest(t *testing.T) {
	known := []string{"count", "memory", "labels"}
	for word, want := range map[string]string{"conut": "count", "MEMORY": "memory", "label": "labels", "xyz": "", "": "", "c": ""} {
		if got := Nearest(word, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
}

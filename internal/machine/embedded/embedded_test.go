package embedded

import (
	"testing"
	"testing/fstest"
)

func TestPrograms(t *testing.T) {
	found := read(fstest.MapFS{"programs/.gitignore": {}, "programs/machine-amd64": {Data: []byte("a")}, "programs/machine-arm64": {Data: []byte("b")}})
	if len(found) != 2 || string(found["amd64"]) != "a" || string(found["arm64"]) != "b" {
		t.Errorf("got %v, want both", found)
	}
	if found := read(fstest.MapFS{"programs/.gitignore": {}}); len(found) > 0 {
		t.Errorf("got %v, want none", found)
	}
}

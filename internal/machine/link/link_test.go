//go:build linux

package link

import (
	"errors"
	"io"
	"reflect"
	"testing"

	"github.com/runnerctl/runnerctl/internal/machine"
)

func TestMessages(t *testing.T) {
	own, file, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	other := New(file)
	sent := []Message{{Boot: &Boot{Settings: machine.Settings{Shm: 7}, Began: 1, Runtime: "/run"}}, {Stop: true}, {NetworkEnded: true}}
	for _, message := range sent { // before anybody receives: nothing is lost
		if err := own.Send(message); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range sent {
		if got, err := other.Receive(); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
	if err := other.Send(Message{Entered: true}); err != nil {
		t.Fatal(err)
	}
	if got, err := own.Receive(); err != nil || !got.Entered {
		t.Errorf("got %+v, %v, want the other direction", got, err)
	}
	if err := own.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want the end", err)
	}
}

package lifecycle

import (
	"testing"

	"github.com/runnerctl/runnerctl/dockerx"
)

// up decides about a supervisor from its options and the existing supervisor.
func TestCourse(t *testing.T) {
	none, stopped, there := dockerx.SupervisorState{}, dockerx.SupervisorState{ContainerID: "a"}, dockerx.SupervisorState{ContainerID: "a", Running: true}
	foreground := dockerx.SupervisorState{ContainerID: "a", Running: true, Foreground: true}
	wanted, unsaid, refused := Supervisor{Wanted: true}, Supervisor{}, Supervisor{Refused: true}
	for _, test := range []struct {
		name    string
		options Supervisor
		before  dockerx.SupervisorState
		want    course
	}{
		{"the first up", wanted, none, leaves},
		{"another one", wanted, there, updates},
		{"one stopped by hand", wanted, stopped, leaves},
		{"one in the foreground", wanted, foreground, updates},
		{"a fleet without", unsaid, none, unaided},
		{"one that is to have none any more", unsaid, there, unaided},
		{"one in the foreground of a fleet without target", unsaid, foreground, updates},
		{"taken away", refused, there, unaided},
		{"taken away in the foreground", refused, foreground, unaided},
	} {
		if got := test.options.course(test.before); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

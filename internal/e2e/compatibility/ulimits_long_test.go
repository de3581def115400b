//go:build linux && long

package compatibility

import (
	"fmt"
	"testing"

	"github.com/runnerctl/runnerctl/internal/doctor"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/secret"
)

// Runners and their containers get the limits that the engine can give, regardless of its
// defaults. A limit that it can't give does not keep a runner from starting.
func TestUlimits(t *testing.T) {
	f := e2e.NewAgentFleet(t, nil)
	given := map[string]fleet.Ulimit{}
	for _, one := range f.Spec.Ulimits {
		given[one.Name] = one
	}
	if files := given["nofile"]; files.Hard < 1024 || files.Soft > files.Hard {
		t.Fatalf("ulimits: %+v, want a nofile of 1024 at least", f.Spec.Ulimits)
	}
	e2e.Must(t, e2e.Up(f.Spec.Fleet)...)
	runner := e2e.List(t, f.Spec.Fleet)[0].Name
	files, locked := given["nofile"].Hard, given["memlock"].Hard
	script := fmt.Sprintf(`
test "$(ulimit -Hn)" = %d
busybox_image
expect %[1]d docker run --rm --ulimit nofile=%[1]d:%[1]d bb sh -c 'ulimit -n'
docker run --rm --ulimit memlock=%[2]d:%[2]d bb true
`, files, locked)
	if locked != fleet.Unlimited {
		script += `! refused=$(docker run --rm --ulimit memlock=-1:-1 bb true 2>&1)
			echo "$refused"`
	}
	code, stdout, stderr := e2e.Runnerctl(t.Context(), "exec", runner, "--", "bash", "-euc", e2e.Prelude+script)
	if code != 0 {
		t.Errorf("exit code %d, want 0; stdout:\n%s\nstderr:\n%s", code, stdout, stderr)
	}
	if known := doctor.Explain(stdout); locked != fleet.Unlimited && (known == nil || known.ID != "rlimit") {
		t.Errorf("%q is explained as %+v, want rlimit", stdout, known)
	}

	spec := f.Spec
	spec.Ulimits = []fleet.Ulimit{{Name: "nofile", Soft: 1 << 30, Hard: 1 << 31}} // beyond any kernel's fs.nr_open
	name := fleet.NewName(f.Spec.Fleet, map[string]bool{})
	made, err := f.Engine.Create(t.Context(), name, spec, fleet.Usual, secret.Text{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Engine.WaitReady(t.Context(), made); err != nil {
		t.Error(err)
	}
}

//go:build linux && long

package compatibility

import (
	"testing"

	"github.com/runnerctl/runnerctl/internal/e2e"
)

// With the wide range all ids work, and the machine works as well as with the narrow one.
func TestIDsAreWide(t *testing.T) {
	api := e2e.Engine(t)
	name := e2e.NewFleet(t, api)
	e2e.WriteFile(t, "runnerctl.yaml", "runners: {idRange: 2147483648}\n")
	e2e.Must(t, e2e.Up(name)...)
	runner := e2e.List(t, name)[0]
	e2e.InspectSecurity(t, api, runner)
	for _, script := range []string{
		"for id in 70000 2147483647; do import_ids $id; expect $id docker run --rm ids /busybox stat -c %u /busybox; docker save ids | docker load; done",
		`busybox_image; for id in 70000 2147483647; do expect "uid=$id" docker run --rm --user $id bb id
			printf 'FROM bb\nRUN touch /file && chown %s:%s /file\n' $id $id | docker build --quiet --tag built -; expect $id docker run --rm built stat -c %u /file; done`,
		`sudo useradd --uid 70000 --create-home big && expect 70000 stat -c %u /home/big; sudo -u big id; ! docker run --rm --user 2147483648 bb id`,
		"docker run --rm --privileged bb mount -t tmpfs none /tmp",
	} {
		if code, stdout, stderr := e2e.Runnerctl(t.Context(), "exec", runner.Name, "--", "bash", "-ec", e2e.Prelude+importIDs+script); code != 0 {
			t.Errorf("%s: exit code %d, want 0; stdout:\n%s\nstderr:\n%s", script, code, stdout, stderr)
		}
	}
	e2e.Must(t, "exec", runner.Name, "--", "sh", "-c", "echo x >/tmp/report && sudo chown 70000:70000 /tmp/report")
	e2e.Must(t, "cp", runner.Name+":/tmp/report", "report")
}

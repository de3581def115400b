//go:build linux

package ghsim_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/runnerctl/runnerctl/internal/ghsim"
)

// GitHub's own command line lists the runners, over TLS and page by page: a client
// that nobody here wrote.
func TestGh(t *testing.T) {
	gh, err := exec.LookPath("gh")
	if err != nil {
		t.Fatalf("%v: make setup FOR=--tests installs it", err)
	}
	s := start(t, ghsim.Options{})
	var want []string
	for i := range 35 { // more than gh's page of 30
		want = append(want, fmt.Sprintf("r%02d", i))
		mint(t, s, "repos/acme/api", want[i], "linux")
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, s.CA(), 0o600); err != nil {
		t.Fatal(err)
	}
	ask := func(token string) (string, error) {
		command := exec.Command(gh, "api", "--paginate", "repos/acme/api/actions/runners", "--jq", ".runners[].name")
		command.Env = []string{"GH_HOST=" + strings.TrimPrefix(s.URL, "https://"), "GH_ENTERPRISE_TOKEN=" + token, "SSL_CERT_FILE=" + ca, "GH_CONFIG_DIR=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}
		output, err := command.CombinedOutput()
		return string(output), err
	}
	if output, err := ask(s.ClassicToken(0, "repo")); err != nil || !slices.Equal(strings.Fields(output), want) {
		t.Errorf("%v: %s, want %v", err, output, want)
	}
	if output, err := ask("ghp_unknown"); err == nil || !strings.Contains(output, "Bad credentials") {
		t.Errorf("%v: %s, want Bad credentials", err, output)
	}
}

//go:build linux

package lifecycle

import (
	"testing"

	"github.com/runnerctl/runnerctl/internal/e2e"
)

func TestMain(m *testing.M) { e2e.Main(m) }

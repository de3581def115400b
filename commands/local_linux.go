package commands

import (
	"os"
	"syscall"

	"github.com/runnerctl/runnerctl/internal/doctor"
)

// readLocal adds what only files tell, where the engine's machine is this one.
func readLocal(facts *doctor.Facts) {
	if !facts.Local {
		return
	}
	facts.Root = os.DirFS("/")
	var stat syscall.Statfs_t
	if syscall.Statfs(facts.RootDir, &stat) == nil {
		facts.FreeDisk = int64(stat.Bavail) * stat.Bsize
	}
}

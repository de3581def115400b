package fleet

import "fmt"

// Exit codes that code depends on.
const (
	VersionRefused = 7  // GitHub no longer accepts the agent
	NotSetUp       = 78 // from the image's own programs: for example, the agent could not register
	signalled      = 128
	sigkill        = 9
)

// verdicts explains the exit codes of GitHub's listener (actions/runner, Constants.cs) and of
// the image's own programs.
var verdicts = map[int]string{
	0:                   "done",
	1:                   "the agent failed: see its log",
	2:                   "the agent could not reach GitHub for long",
	3:                   "ended to update itself",
	4:                   "ended after its one job to update itself",
	5:                   "another session has its registration",
	VersionRefused:      "GitHub no longer accepts this runner version: rebuild the image",
	70:                  "a daemon of the runner gave up: see its log",
	77:                  "GitHub has deleted its registration: runnerctl up makes another runner",
	NotSetUp:            "the agent could not be set up: see its log",
	signalled + sigkill: "killed by its job or from outside, or not stopped in time",
	signalled + 15:      "ended by SIGTERM, from its job or before it was set up",
}

// Verdict describes the exit code of a runner with an agent. outOfMemory means that the kernel
// killed one of its processes for lack of memory.
func Verdict(code int, outOfMemory bool) string {
	text, known := verdicts[code]
	switch {
	case outOfMemory && code == signalled+sigkill:
		return "killed by the kernel: out of memory"
	case known:
	case code > signalled && code <= signalled+64:
		text = fmt.Sprintf("ended by signal %d", code-signalled)
	default:
		text = fmt.Sprintf("ended with the unknown code %d", code)
	}
	if outOfMemory {
		text += ", out of memory"
	}
	return text
}

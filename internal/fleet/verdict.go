package fleet

import "fmt"

// verdicts are the exit codes of GitHub's listener (actions/runner, Constants.cs),
// of the image's own programs, and of the kernel.
var verdicts = map[int]string{
	0:   "done",
	1:   "ended by a stop or an error of its own",
	2:   "failed in a way that another start may cure",
	3:   "ended to update itself",
	4:   "ended after its one job to update itself",
	5:   "another session has its registration",
	6:   "its settings were changed by GitHub",
	7:   "GitHub takes this version of the agent no more: rebuild the image",
	78:  "the agent could not be set up: its log tells why",
	137: "killed: out of memory, or not stopped in time",
	143: "stopped before it was set up",
}

// Verdict says in words what the exit code of a runner with an agent means.
func Verdict(code int) string {
	if text, known := verdicts[code]; known {
		return text
	}
	return fmt.Sprintf("ended with the unknown code %d", code)
}

//go:build linux

package compatibility

// jobInputs are uses of Docker and the machine that work.
var jobInputs = []input{
	{
		ID: "run", Group: "Docker", Input: "docker run --rm IMAGE", Result: outcomePasses,
		Script: `busybox_image; expect hello docker run --rm bb echo hello`,
	},
}

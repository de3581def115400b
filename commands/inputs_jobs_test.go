//go:build linux

package commands

// jobInputs are what jobs do with Docker and their machine that works.
var jobInputs = []input{
	{
		ID: "run", Group: "Docker", Input: "docker run --rm IMAGE", Result: outcomePasses,
		Script: `busybox_image; expect hello docker run --rm bb echo hello`,
	},
}

package export

import (
	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/export"
	"github.com/runnerctl/runnerctl/internal/session"
)

func kubernetesCommand(s session.Session) cmdline.Command {
	return cmdline.Command{Command: &cli.Command{
		Name:  "kubernetes",
		Usage: "write objects, values and node files for GitHub's Actions Runner Controller",
		Description: "The pods run in a namespace that enforces the pod security level baseline. Build their image with build --for kubernetes.\n\nExamples:\n" +
			"   runnerctl export kubernetes --image registry.example.com/runner:1 --out k8s\n" +
			"   runnerctl export kubernetes --image registry.example.com/runner:1 --out k8s --no-apparmor",
		Flags: toolFlags(&cli.BoolFlag{Name: "no-apparmor", Usage: "the nodes' kernels do not use AppArmor", Category: "Kubernetes"}),
		Action: func(c *cli.Context) error {
			return tool(c, s, func(of export.Fleet) (export.Files, error) {
				return export.Kubernetes(of, export.Cluster{NoAppArmor: c.Bool("no-apparmor")})
			})
		},
	}}
}

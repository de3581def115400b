package export

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/internal/checkup"
	"github.com/runnerctl/runnerctl/internal/cluster"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/export"
	"github.com/runnerctl/runnerctl/internal/session"
)

// Methods by which pods get /dev/net/tun.
const (
	tunClass  = "runtime-class"
	tunPlugin = "device-plugin"
)

func kubernetesCommand(s session.Session) cmdline.Command {
	return cmdline.Command{Command: &cli.Command{
		Name:  "kubernetes",
		Usage: "write objects, values and node files for GitHub's Actions Runner Controller",
		Description: "The pods run in a namespace that enforces the pod security level baseline. Build their image with build --for kubernetes.\n\nExamples:\n" +
			"   runnerctl export kubernetes --image registry.example.com/runner:1 --out k8s\n" +
			"   runnerctl export kubernetes --image registry.example.com/runner:1 --out k8s --no-apparmor\n" +
			"   runnerctl export kubernetes --image registry.example.com/runner:1 --out k8s --tun device-plugin --plugin-image registry.example.com/tun:1\n" +
			"   runnerctl export kubernetes --check --context production",
		Flags: toolFlags(
			&cli.BoolFlag{Name: "no-apparmor", Usage: "the nodes' kernels do not use AppArmor", Category: "Kubernetes"},
			&cli.StringFlag{Name: "tun", Value: tunClass, Usage: "pods get /dev/net/tun by a `METHOD`: " + tunClass + " of containerd, or " + tunPlugin, Category: "Kubernetes"},
			&cli.StringFlag{Name: "plugin-image", Usage: "the image `REF` of the device plugin, which is made from the repository's folder deviceplugin", Category: "Kubernetes"},
			&cli.BoolFlag{Name: "check", Usage: "write nothing; list the parts that the cluster lacks for these runners", Category: "Kubernetes"},
			&cli.StringFlag{Name: "kubeconfig", Usage: "with --check, read the cluster's address and credential from `FILE` (default: as kubectl)", Category: "Kubernetes"},
			&cli.StringFlag{Name: "context", Usage: "with --check, the context `NAME` of the kubeconfig (default: its current one)", Category: "Kubernetes"},
			flags.Output(),
		),
		Action: func(c *cli.Context) error {
			method, image := c.String("tun"), c.String("plugin-image")
			switch {
			case method != tunClass && method != tunPlugin:
				return &cmdline.UsageError{Command: cmdline.CommandName(c), Problem: fmt.Sprintf("--tun %s: expected %s or %s", method, tunClass, tunPlugin)}
			case c.Bool("check") && (c.IsSet("image") || c.IsSet("out")):
				return &cmdline.UsageError{Command: cmdline.CommandName(c), Problem: "--check can't be combined with --image or --out"}
			case c.Bool("check"):
				return check(c, s, method == tunPlugin)
			case (method == tunPlugin) != (image != ""):
				return &cmdline.UsageError{Command: cmdline.CommandName(c), Problem: "--tun " + tunPlugin + " and --plugin-image belong together"}
			}
			return tool(c, s, func(of export.Fleet) (export.Files, error) {
				return export.Kubernetes(of, export.Cluster{NoAppArmor: c.Bool("no-apparmor"), PluginImage: image})
			})
		},
	}}
}

// check compares a cluster with the export.
func check(c *cli.Context, s session.Session, plugin bool) (err error) {
	if err := cmdline.NoArguments(c); err != nil {
		return err
	}
	loaded, err := flags.Settings(c)
	if err != nil {
		return err
	}
	options := checkup.Cluster{
		Kubeconfig: c.String("kubeconfig"), Context: c.String("context"), Wanted: cluster.Wanted{Namespace: export.Namespace(loaded.Name), Plugin: plugin},
	}
	if options.JSON, err = flags.JSON(c); err != nil {
		return err
	}
	if options.Theme, err = flags.Theme(c, s, s.Streams.OutTTY); err != nil {
		return err
	}
	return options.Run(c.Context, s)
}

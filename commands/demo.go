package commands

import "github.com/urfave/cli/v2"

func demoCommand(d deps) *cli.Command { return &cli.Command{Name: "demo"} }

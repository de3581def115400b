// Command terminal runs commands in a terminal and writes its final screen as SVG, once with
// light colors and once with dark ones.
//
//	terminal -light light.svg -dark dark.svg 'ls -l' 'git status'
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"
)

func main() {
	if err := take(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "terminal:", err)
		os.Exit(1)
	}
}

// take reads the arguments, runs the commands and writes the pictures. Nothing is written
// unless each command succeeds.
func take(arguments []string) error {
	flags := flag.NewFlagSet("terminal", flag.ExitOnError)
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "terminal -light FILE -dark FILE [flags] COMMAND…: run commands and write a picture of their terminal")
		flags.PrintDefaults()
	}
	columns := flags.Int("cols", 96, "`COLUMNS` of the terminal")
	limit := flags.Duration("timeout", 2*time.Minute, "`LIMIT` for all commands to end")
	title := flags.String("title", "runnerctl", "`TEXT` on the window")
	pictures := []struct {
		file  *string
		theme theme
	}{
		{flags.String("light", "", "`FILE` for the picture in light colors"), light},
		{flags.String("dark", "", "`FILE` for the picture in dark colors"), dark},
	}
	_ = flags.Parse(arguments) // it exits
	if *pictures[0].file == "" || *pictures[1].file == "" || flags.NArg() == 0 {
		flags.Usage()
		return errors.New("-light, -dark and a command are needed")
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), *limit, fmt.Errorf("it did not end within %s", *limit))
	defer cancel()
	screen := newScreen(*columns)
	for _, command := range flags.Args() {
		if err := screen.run(ctx, command); err != nil {
			return err
		}
	}
	for _, picture := range pictures {
		if err := os.WriteFile(*picture.file, screen.svg(*title, picture.theme), 0o644); err != nil {
			return err
		}
	}
	return nil
}

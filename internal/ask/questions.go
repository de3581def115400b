package ask

import (
	"fmt"
	"strconv"

	"github.com/runnerctl/runnerctl/ghapi"
	"github.com/runnerctl/runnerctl/internal/config"
)

// Question is a question about one setting.
type Question struct {
	Name    string // also of the flag that gives the answer
	Text    string
	help    string
	choices []string
	preset  func(config.Config) string
	set     func(*config.Config, string) error
}

// Questions lists all questions in their order.
func Questions() []Question {
	return []Question{
		{Name: "target", Text: "GitHub URL (empty: runners without an agent)", help: "https://github.com/OWNER/REPO, /ORG or /enterprises/E",
			preset: func(c config.Config) string { return c.Target },
			set: func(c *config.Config, text string) error {
				c.Target = text
				if text == "" {
					return nil
				}
				_, err := ghapi.ParseTarget(text)
				return err
			}},
		{Name: "base", Text: "Base image for jobs", choices: []string{"debian:trixie-slim", "ubuntu:24.04", "ubuntu:22.04", "debian:sid-slim"},
			preset: func(c config.Config) string { return c.Image.Base },
			set:    func(c *config.Config, text string) error { c.Image.Base = text; return nil }},
		{Name: "count", Text: "Number of runners", preset: func(c config.Config) string { return strconv.Itoa(c.Runners.Count) },
			set: func(c *config.Config, text string) (err error) {
				if c.Runners.Count, err = strconv.Atoi(text); err != nil {
					return fmt.Errorf("%q is not a whole number", text)
				}
				return nil
			}},
		{Name: "cpus", Text: "CPUs per runner", preset: func(c config.Config) string { return fmt.Sprint(c.Runners.CPUs) },
			set: func(c *config.Config, text string) (err error) {
				if c.Runners.CPUs, err = strconv.ParseFloat(text, 64); err != nil {
					return fmt.Errorf("%q is not a number", text)
				}
				return nil
			}},
		{Name: "memory", Text: "Memory per runner", preset: func(c config.Config) string { return c.Runners.Memory.String() },
			set: func(c *config.Config, text string) (err error) {
				c.Runners.Memory, err = config.ParseSize(text)
				return err
			}},
		{Name: "cache", Text: "Disk space for the host's cache, for example 50GiB (0: no cache)", help: "all runners of the host share it; the rules of GitHub's cache apply",
			preset: func(c config.Config) string { return c.Cache.Size.String() },
			set: func(c *config.Config, text string) (err error) {
				c.Cache.Size, err = config.ParseSize(text)
				return err
			}},
	}
}

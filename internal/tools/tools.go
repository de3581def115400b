// Package tools installs versions of tools for the setup actions in a runner. It imports no package of
// runnerctl.
package tools

import (
	_ "embed"
	"regexp"
	"slices"
	"strings"
)

// Names are the tools whose versions GitHub publishes in one form.
var Names = []string{"go", "node", "python"}

//go:embed install.sh
var script string

var versionPattern = regexp.MustCompile(`^[0-9]+(\.[0-9]+){0,2}$`)

// Known reports whether a text is a tool with a version, like node@22.
func Known(text string) bool {
	name, version, _ := strings.Cut(text, "@")
	return slices.Contains(Names, name) && versionPattern.MatchString(version)
}

// Command returns the command that installs tools in a runner, as the user runner. from is the URL of
// the manifests.
func Command(from string, tools []string) []string {
	return slices.Concat([]string{"bash", "-c", script, "install-tools", from}, tools)
}

// Command wording checks the texts of the repository: comments, messages and documentation.
// It prints each phrase that banned.txt lists, with the hint, and each misspelled word. The
// exit code is 1 if there is any.
package main

import (
	_ "embed"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed banned.txt
var banned string

func main() {
	root := flag.String("C", ".", "`FOLDER` of the repository")
	flag.Parse()
	found, err := run(*root, flag.Args(), os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "wording:", err)
		os.Exit(2)
	}
	if found > 0 {
		fmt.Fprintf(os.Stderr, "wording: %d phrases (tools/wording/banned.txt has the list and its exceptions)\n", found)
		os.Exit(1)
	}
}

// run checks the named files, or all files that git tracks, and returns the number of
// findings.
func run(root string, names []string, out io.Writer) (int, error) {
	rules, err := parse(banned)
	if err != nil {
		return 0, err
	}
	if len(names) == 0 {
		listed, err := exec.Command("git", "-C", root, "ls-files", "-z").Output()
		if err != nil {
			return 0, fmt.Errorf("git ls-files: %w", err)
		}
		names = strings.Split(strings.TrimSuffix(string(listed), "\x00"), "\x00")
	}
	count := 0
	for _, name := range names {
		if rules.skips(name) {
			continue
		}
		content, err := os.ReadFile(filepath.Join(root, name)) //nolint:gosec // files of the repository
		if os.IsNotExist(err) {
			continue // deleted, not yet committed
		}
		if err != nil {
			return count, err
		}
		for _, one := range rules.check(name, content) {
			fmt.Fprintln(out, one)
			count++
		}
	}
	return count, nil
}

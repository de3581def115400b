package prepare

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/runnerctl/runnerctl/scripts"
)

// Script returns scripts/host/prepare, with the files that it needs, as one script.
func Script() (string, error) {
	var text strings.Builder
	text.WriteString("#!/bin/sh\n# runnerctl: sets up this machine as a host.\nset -eu\nFILES=$(mktemp -d)\nexport FILES\ntrap 'rm -rf \"$FILES\"' EXIT\n")
	err := fs.WalkDir(scripts.Host, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := scripts.Host.ReadFile(name)
		fmt.Fprintf(&text, "cat >\"$FILES/%s\" <<'END-OF-FILE'\n%sEND-OF-FILE\n", path.Base(name), content)
		return err
	})
	text.WriteString("sh \"$FILES/prepare\" \"$@\"\n")
	return text.String(), err
}

// WriteCloudInit prints the same script as user-data, which cloud-init runs once, as root, at
// the first boot.
func WriteCloudInit(w io.Writer, allowMetadata bool) error {
	script, err := Script()
	if err != nil {
		return err
	}
	args := `--apply --user "$(id -nu 1000 2>/dev/null || echo root)"`
	if allowMetadata {
		args += " --allow-metadata"
	}
	_, err = io.WriteString(w, strings.Replace(script, `sh "$FILES/prepare" "$@"`, `sh "$FILES/prepare" `+args, 1))
	return err
}

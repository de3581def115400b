package transfer

import (
	"path"
	"strings"
)

// Place is one side of a copy.
type Place struct {
	Runner string // "" for this machine
	Path   string // "-" for a tar stream
}

func (p Place) String() string {
	if p.Runner == "" {
		return p.Path
	}
	return p.Runner + ":" + p.Path
}

// contents reports whether the path means the folder's contents, not the folder itself.
func (p Place) contents() bool {
	base := path.Base(p.Path)
	return base == "." || base == ".." || base == "/"
}

// ParsePlace reads the text before the first colon as a runner's name, unless it looks like
// part of a path or like a Windows drive.
func ParsePlace(text string) Place {
	name, rest, found := strings.Cut(text, ":")
	if !found || len(name) < 2 || strings.ContainsAny(name, `./\`) {
		return Place{Path: text}
	}
	return Place{Runner: name, Path: atHome(rest)}
}

// atHome returns a path in a runner; paths that are not absolute are relative to the home
// folder, as with scp.
func atHome(path string) string {
	path = strings.TrimPrefix(path, "~/")
	if path == "" || path == "~" {
		return "."
	}
	return path
}

// These are the possible states of the destination of a copy.
const (
	nothing = "nothing"
	aFile   = "file"
	aFolder = "folder"
)

// destine returns the folder and the name for the copy of a file or folder called base. The
// name is "." if a folder's contents go into an existing folder, and ends with a slash if only
// a folder is allowed. split separates the last element from a path.
func destine(found, to, base string, contents bool, split func(string) (string, string)) (dir, name string) {
	switch {
	case found == aFolder && contents:
		return to, "."
	case found == aFolder:
		return to, base
	}
	trimmed := strings.TrimRight(to, "/")
	if dir, name = split(trimmed); dir == "" {
		dir = "."
	}
	if trimmed != to {
		name += "/"
	}
	return dir, name
}

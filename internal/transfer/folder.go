package transfer

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/archive"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/templates"
)

// Folder is a folder of this machine that is copied into a fresh runner.
type Folder struct {
	Dir string // absolute; "" for none
	To  string // folder in the runner
}

// ParseFolder reads DIR[:DEST]. An existing folder with a colon in its name takes precedence.
func ParseFolder(text string) (Folder, error) {
	if text == "" {
		return Folder{}, nil
	}
	dir, to := text, ""
	info, err := os.Stat(dir)
	if err != nil {
		if i := strings.LastIndex(text, ":"); i > 0 {
			dir, to = text[:i], text[i+1:]
			info, err = os.Stat(dir)
		}
	}
	if err != nil {
		return Folder{}, err
	}
	if !info.IsDir() {
		return Folder{}, errors.New("no folder")
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return Folder{}, err
	}
	if to == "" {
		to = filepath.Base(dir)
	}
	return Folder{dir, path.Clean(atHome(to))}, nil
}

// Send copies the folder into a runner that has not run a command yet. The copy belongs to the
// user runner.
func (f Folder) Send(ctx context.Context, s session.Session, engine *dockerx.Engine, runner fleet.Runner) error {
	owner := templates.Outer(templates.RunnerID)
	var summary archive.Summary
	err := engine.Send(ctx, runner, f.To, owner, func(out *tar.Writer, name string) (err error) {
		summary, err = archive.Pack(out, f.Dir, name, owner)
		return err
	})
	if err != nil {
		return fmt.Errorf("copy %s to runner %s: %w", f.Dir, runner.Name, err)
	}
	writeSkipped(s.Streams.Err, summary)
	return nil
}

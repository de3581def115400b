package image

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/runnerctl/runnerctl/internal/hint"
	"github.com/runnerctl/runnerctl/internal/machine/embedded"
	"github.com/runnerctl/runnerctl/internal/release"
	"github.com/runnerctl/runnerctl/internal/ui"
	"github.com/runnerctl/runnerctl/templates"
)

// buildxAPI serves the releases of buildx, even if the target is on another GitHub.
const buildxAPI = "https://api.github.com"

// complete returns the recipe with everything that is looked up when it is built, and every
// large file that the engine is sent, by its path in the context. Files are downloaded now if
// necessary.
func (b Builder) complete(ctx context.Context, wanted Recipe, arch string) (Recipe, map[string]string, error) {
	if err := embedded.Check(); err != nil {
		return wanted, nil, err
	}
	if b.Cache == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return wanted, nil, fmt.Errorf("agent archive: %w", err)
		}
		b.Cache = filepath.Join(cache, "runnerctl", "agent")
	}
	reach, err := b.Reach()
	if err != nil {
		return wanted, nil, err
	}
	transport, err := reach.Transport()
	if err != nil {
		return wanted, nil, err
	}
	client := &http.Client{Transport: transport}
	defer client.CloseIdleConnections()
	large := map[string]string{}
	if wanted.agent != nil {
		if large[templates.AgentArchive], err = b.fetch(ctx, client, *wanted.agent, "agent"); err != nil {
			return wanted, nil, err
		}
	}
	if wanted.buildx != nil {
		large[templates.BuildxFile], err = b.fetch(ctx, client, *wanted.buildx, "buildx")
		return wanted, large, err
	}
	if version := wanted.lateBuildx(); version != "" {
		buildx, err := release.Buildx(ctx, client, buildxAPI, version, arch)
		path := ""
		if err == nil {
			path, err = b.fetch(ctx, client, buildx, "buildx")
		}
		if ctx.Err() != nil {
			return wanted, nil, ctx.Err()
		}
		if err == nil {
			wanted.buildx, large[templates.BuildxFile] = &buildx, path
		} else {
			fmt.Fprintf(b.Out, "buildx the distribution's, since GitHub's release can't be had: %v\n       GitHub's cache service needs %s or newer; image.buildx.archive may name a file\n", err, release.FirstBuildx)
		}
	}
	return wanted, large, nil
}

// fetch returns the file of an archive. name is that of its settings, image.NAME.
func (b Builder) fetch(ctx context.Context, client *http.Client, archive release.Archive, name string) (string, error) {
	show := &download{out: b.Out, redraw: b.Redraw, title: fmt.Sprintf("%-6s downloading %s", name, archive.Name())}
	path, err := archive.Fetch(ctx, client, b.Cache, show.update)
	show.end()
	if err != nil && ctx.Err() == nil && hint.Of(err) == "" {
		err = hint.Add(err, "where this machine can't reach it, image."+name+".archive may name a file")
	}
	return path, err
}

// download shows the progress of a download: redrawn on a terminal, otherwise as one line.
type download struct {
	out    io.Writer
	redraw bool
	title  string
	next   time.Time
	begun  bool
}

func (o *download) update(done, total int64) {
	if time.Now().Before(o.next) {
		return
	}
	o.next = time.Now().Add(200 * time.Millisecond)
	size := ""
	if total > 0 {
		size = " of " + ui.Bytes(total)
	}
	switch {
	case o.redraw:
		fmt.Fprintf(o.out, "\r%s  %s%s\x1b[K", o.title, ui.Bytes(done), size)
	case !o.begun:
		fmt.Fprintf(o.out, "%s %s\n", o.title, size)
	}
	o.begun = true
}

func (o *download) end() {
	if o.begun && o.redraw {
		fmt.Fprintln(o.out)
	}
}

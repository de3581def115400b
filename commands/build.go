package commands

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/hint"
	"github.com/runnerctl/runnerctl/internal/ui"
)

const repository = "runnerctl/runner"

type buildOptions struct {
	config        config.Config
	print         bool
	out           string // folder for the build context
	pull          bool
	noCache       bool
	bootstrapBase bool
	progress      string // auto, tty, plain, quiet
}

func buildFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "bootstrap-base", Usage: "where the base image can't be pulled, make it from the distribution's packages (mmdebstrap)", EnvVars: []string{"RUNNERCTL_BOOTSTRAP_BASE"}, Category: "Image"},
		&cmdline.Choice{Flag: &cli.StringFlag{Name: "progress", Usage: "`MODE`: auto, tty, plain or quiet", Value: "auto", EnvVars: []string{"RUNNERCTL_PROGRESS"}, Category: "Output"}, Candidates: cmdline.Candidates{Words: []string{"auto", "tty", "plain", "quiet"}}},
	}
}

func buildCommand(d deps) verb {
	return verb{Command: &cli.Command{
		Name:     "build",
		Category: "Prepare",
		Usage:    "build the runner image",
		Description: "Examples:\n" +
			"   runnerctl build --bootstrap-base\n" +
			"   runnerctl build --out context && docker build context",
		Flags: append(slices.Concat(configFlags(), buildFlags(), githubFlags()),
			&cli.BoolFlag{Name: "print", Usage: "print the Dockerfile only", Category: "Image"},
			&cli.StringFlag{Name: "out", Usage: "write the whole build context to `DIR` only", Category: "Image"},
			&cli.BoolFlag{Name: "pull", Usage: "ask the registry for a newer base", Category: "Image"},
			&cli.BoolFlag{Name: "no-cache", Usage: "build every step anew", Category: "Image"}),
		Action: func(c *cli.Context) error {
			if err := cmdline.NoArguments(c); err != nil {
				return err
			}
			loaded, err := settings(c)
			if err != nil {
				return err
			}
			options, err := buildOptionsOf(c, loaded)
			if err != nil {
				return err
			}
			options.print, options.out = c.Bool("print"), c.String("out")
			options.pull, options.noCache = c.Bool("pull"), c.Bool("no-cache")
			return runBuild(c.Context, d, options)
		},
	}}
}

func buildOptionsOf(c *cli.Context, loaded config.Config) (buildOptions, error) {
	options := buildOptions{config: loaded, bootstrapBase: c.Bool("bootstrap-base"), progress: c.String("progress")}
	switch options.progress {
	case "auto", "tty", "plain", "quiet":
		return options, nil
	}
	return options, &cmdline.UsageError{Command: c.Command.Name, Problem: fmt.Sprintf("--progress %q: auto, tty, plain or quiet", options.progress)}
}

func runBuild(ctx context.Context, d deps, options buildOptions) error {
	if options.print || options.out != "" {
		wanted, err := recipeOf(ctx, d, nil, options.config)
		if err != nil {
			return err
		}
		var large map[string]string
		if !options.print {
			if wanted, large, err = wanted.completed(ctx, d, options.config, runtime.GOARCH); err != nil {
				return err
			}
		}
		files, err := wanted.context("")
		if err != nil {
			return err
		}
		if options.print {
			_, err := d.streams.Out.Write(files["Dockerfile"])
			return err
		}
		return writeContext(options.out, files, large)
	}
	engine, _, err := connect(d)
	if err != nil {
		return err
	}
	defer engine.Close()
	started := time.Now()
	tag, _, built, err := ensureImage(ctx, d, engine, options)
	if err != nil {
		return err
	}
	if built {
		fmt.Fprintf(d.streams.Err, "built in %s\n", ui.Duration(time.Since(started)))
	} else {
		fmt.Fprintln(d.streams.Err, "unchanged")
	}
	fmt.Fprintln(d.streams.Out, tag)
	return nil
}

// imageHash covers everything that determines the image's content: the rendered Dockerfile,
// every file sent, the ids of the base images, and the release of buildx to look up.
func imageHash(files dockerx.Context, baseIDs ...string) string {
	sum := sha256.New()
	for _, path := range files.Paths() {
		fmt.Fprintf(sum, "%s %o %d\n", path, files.Mode(path), len(files[path]))
		sum.Write(files[path])
	}
	for _, id := range baseIDs {
		fmt.Fprintln(sum, id)
	}
	return hex.EncodeToString(sum.Sum(nil))[:12]
}

// ensureImage builds the image unless the engine has one with the same hash.
func ensureImage(ctx context.Context, d deps, engine *dockerx.Engine, options buildOptions) (tag, id string, built bool, err error) {
	wanted, err := recipeOf(ctx, d, engine, options.config)
	if err != nil {
		return "", "", false, err
	}
	return wanted.ensure(ctx, d, engine, options, func(arch string) (recipe, map[string]string, error) {
		return wanted.completed(ctx, d, options.config, arch)
	})
}

// ensure is ensureImage for a recipe. complete adds the parts that only a build needs, for an
// architecture.
func (r recipe) ensure(ctx context.Context, d deps, engine *dockerx.Engine, options buildOptions, complete func(arch string) (recipe, map[string]string, error)) (tag, id string, built bool, err error) {
	var baseIDs []string
	for _, base := range r.image.Bases() {
		id, err := ensureBase(ctx, d, engine, base, options)
		if err == nil {
			err = engine.Fits(ctx, base)
		}
		if err != nil {
			return "", "", false, err
		}
		baseIDs = append(baseIDs, id)
	}
	files, err := r.context("")
	if err != nil {
		return "", "", false, err
	}
	hash := imageHash(files, append(baseIDs, r.lateBuildx())...)
	tag = repository + ":" + hash
	if !options.noCache {
		id, err := engine.ImageID(ctx, tag)
		if err != nil || id != "" {
			return tag, id, false, err
		}
	}
	facts, err := engine.Facts(ctx)
	if err != nil {
		return "", "", false, fmt.Errorf("engine: %w", err)
	}
	r, archives, err := complete(facts.Arch)
	if err != nil {
		return "", "", false, err
	}
	if files, err = r.context(hash); err != nil {
		return "", "", false, err
	}
	progress := options.progress
	if progress == "auto" && (!d.redraws() || d.color == "never") {
		progress = "plain" // BuildKit's own display on terminals supports neither
	}
	err = engine.Build(ctx, files, dockerx.BuildOptions{Tag: tag, NoCache: options.noCache, Large: archives, Progress: progress, Out: d.streams.Err})
	if err != nil {
		return "", "", false, err
	}
	id, err = engine.ImageID(ctx, tag)
	return tag, id, true, err
}

// imageAtHand is ensureImage without requests to GitHub or a build: anything that is missing
// is an error.
func imageAtHand(ctx context.Context, d deps, engine *dockerx.Engine, options buildOptions) (tag, id string, built bool, err error) {
	if options.config.Target != "" && options.config.Image.Agent.Archive == "" {
		return "", "", false, hint.Add(errors.New("only GitHub tells which agent the image is to hold, and --offline asks nobody"), "leave out --offline, or name an archive in image.agent")
	}
	wanted, err := recipeOf(ctx, d, engine, options.config)
	if err != nil {
		return "", "", false, err
	}
	tag, id, base, err := wanted.find(ctx, engine)
	if err != nil || id != "" {
		return tag, id, false, err
	}
	missing := "runner image " + tag
	if base != "" {
		missing = "base image " + base
	}
	return "", "", false, hint.Add(fmt.Errorf("the engine has no %s, and --offline makes none", missing), "runnerctl build")
}

func unique(names ...string) []string {
	var out []string
	seen := map[string]bool{}
	for _, name := range names {
		if !seen[name] {
			seen[name] = true
			out = append(out, name)
		}
	}
	return out
}

func ensureBase(ctx context.Context, d deps, engine *dockerx.Engine, base string, options buildOptions) (string, error) {
	id, err := engine.ImageID(ctx, base)
	if err != nil {
		return "", err
	}
	if id != "" && !options.pull {
		return id, nil
	}
	progress := d.streams.Err
	if options.progress == "quiet" {
		progress = io.Discard
	}
	fmt.Fprintf(progress, "base   pulling %s\n", base)
	pullErr := engine.Pull(ctx, base, progress)
	if pullErr == nil {
		return engine.ImageID(ctx, base)
	}
	if ctx.Err() != nil || id != "" {
		return id, pullErr
	}
	if !options.bootstrapBase {
		if dockerx.Bootstrappable(base) {
			return "", hint.Add(pullErr, "no registry here? --bootstrap-base makes "+base+" from the distribution's packages")
		}
		return "", hint.Add(pullErr, "check image.base; where mmdebstrap is installed, --bootstrap-base can make debian and ubuntu bases")
	}
	fmt.Fprintf(progress, "base   %s can't be pulled, bootstrapping it from packages\n", base)
	if err := engine.Bootstrap(ctx, base, progress); err != nil {
		err = fmt.Errorf("%w; before that, %w", err, pullErr)
		if hint.Of(err) == "" {
			err = hint.Add(err, "check image.base, and that its registry can be reached from the engine")
		}
		return "", err
	}
	return engine.ImageID(ctx, base)
}

func writeContext(dir string, files dockerx.Context, large map[string]string) error {
	for _, path := range files.Paths() {
		target := filepath.Join(dir, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return fmt.Errorf("build context: %w", err)
		}
		if err := os.WriteFile(target, files[path], files.Mode(path)); err != nil {
			return fmt.Errorf("build context: %w", err)
		}
	}
	for path, source := range large {
		if err := copyFile(source, filepath.Join(dir, filepath.FromSlash(path))); err != nil {
			return fmt.Errorf("build context: %w", err)
		}
	}
	return nil
}

func copyFile(source, target string) error {
	from, err := os.Open(source)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.Create(target)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}

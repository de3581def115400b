package release

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// Distribution is the version that stands for the rootfs's own package of buildx.
const Distribution = "distribution"

// FirstBuildx is the first version of buildx that GitHub's cache service accepts.
const FirstBuildx = "0.21"

// buildxWhat is the name of buildx in messages.
const buildxWhat = "buildx"

var buildxName = regexp.MustCompile(`^buildx-v([0-9]+\.[0-9]+\.[0-9]+)\.linux-[a-z0-9-]+$`)

// GivenBuildx returns the buildx program that the settings name, as Given does for the
// agent's archive.
func GivenBuildx(source, wanted string) (Archive, error) {
	return given(Archive{What: buildxWhat, Source: source, SHA256: wanted}, buildxName)
}

// lookUpLimit is how long GitHub may take to list the files of a release.
const lookUpLimit = 15 * time.Second

// buildxAsset is a file of a release as GitHub's API lists it.
type buildxAsset struct {
	Name   string `json:"name"`
	URL    string `json:"browser_download_url"`
	Digest string `json:"digest"` // "sha256:…"; "" in older releases
}

// buildxArchitectures maps the engine's words for architectures to those of buildx's
// releases.
var buildxArchitectures = map[string]string{"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm-v7"}

// Buildx finds the program of a release, "latest" or like 0.31.1, for an engine's machine.
// api is the URL of GitHub's API. The hash comes from the API, or else from the release's own
// checksums.txt.
func Buildx(ctx context.Context, client *http.Client, api, version, arch string) (Archive, error) {
	ctx, cancel := context.WithTimeout(ctx, lookUpLimit)
	defer cancel()
	path := "/releases/latest"
	if version != Latest {
		path = "/releases/tags/v" + version
	}
	body, err := get(ctx, client, api+"/repos/docker/buildx"+path)
	if err != nil {
		return Archive{}, fmt.Errorf("buildx: %w", err)
	}
	defer body.Close()
	var release struct {
		Tag    string        `json:"tag_name"`
		Assets []buildxAsset `json:"assets"`
	}
	if err := json.NewDecoder(body).Decode(&release); err != nil {
		return Archive{}, fmt.Errorf("buildx: GitHub's answer: %w", err)
	}
	name := "buildx-" + release.Tag + ".linux-" + cmp.Or(buildxArchitectures[arch], arch)
	var program, checksums buildxAsset
	for _, one := range release.Assets {
		switch one.Name {
		case name:
			program = one
		case "checksums.txt":
			checksums = one
		}
	}
	if program.URL == "" {
		return Archive{}, fmt.Errorf("buildx: the release %s has no %s", release.Tag, name)
	}
	archive := Archive{What: buildxWhat, Version: strings.TrimPrefix(release.Tag, "v"), Source: program.URL}
	archive.SHA256 = strings.TrimPrefix(program.Digest, "sha256:")
	if archive.SHA256 == "" && checksums.URL != "" {
		if archive.SHA256, err = checksum(ctx, client, checksums.URL, name); err != nil {
			return Archive{}, err
		}
	}
	if len(archive.SHA256) != 64 {
		return Archive{}, fmt.Errorf("buildx: the release %s has no SHA-256 of %s", release.Tag, name)
	}
	return archive, nil
}

// checksum returns the hash of a name in a file of sha256sum's format; "" if the name is
// missing.
func checksum(ctx context.Context, client *http.Client, url, name string) (string, error) {
	body, err := get(ctx, client, url)
	if err != nil {
		return "", fmt.Errorf("buildx: %w", err)
	}
	defer body.Close()
	for lines := bufio.NewScanner(io.LimitReader(body, 1<<20)); lines.Scan(); {
		sum, of, _ := strings.Cut(lines.Text(), " ")
		if strings.TrimLeft(of, " *") == name {
			return strings.ToLower(sum), nil
		}
	}
	return "", nil
}

func get(ctx context.Context, client *http.Client, url string) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		_ = response.Body.Close()
		return nil, fmt.Errorf("%s: the server answered %s", url, response.Status)
	}
	return response.Body, nil
}

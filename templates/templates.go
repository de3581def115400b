// Package templates renders the runner image's Dockerfile from typed data.
package templates

import (
	"bytes"
	_ "embed"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"text/template"
)

//go:embed Dockerfile.tmpl
var dockerfile string

// FirstID is the first outer id of the shift on a Docker host: inner uid N is outer uid
// FirstID+N-1, and inner root is 1001.
const FirstID = 100000

// RunnerID is the uid and gid of the user runner in its machine.
const RunnerID = 1001

// Label is one OCI label of the image; Value is quoted when rendered.
type Label struct{ Key, Value string }

// Names of files in the build context.
const (
	ProfileFile  = "profile"   // Profile.List
	AgentArchive = "agent.tar" // the agent's archive
	BuildxFile   = "buildx"    // the buildx program
)

// Agent is GitHub's runner program in the image, from AgentArchive.
type Agent struct {
	SHA256 string // of the archive, in hex
	Hooks  bool   // whether the context's folder hooks has the operator's
	Cache  bool   // actions use the cache of their host
}

// Buildx is docker's buildx plugin, from BuildxFile.
type Buildx struct {
	SHA256 string // in hex
}

// Data holds everything that varies in the Dockerfile.
type Data struct {
	Base      string // image reference for the job root filesystem
	OuterBase string // image reference for the outer tree
	Profile   Profile
	Packages  []string // the operator's, in addition to the profile's
	Sudo      bool
	Fragment  string // Dockerfile instructions for the job root filesystem's stage
	FirstID   int
	IDs       int64 // number of ids, from FirstID on
	Labels    []Label
	Agent     *Agent  // nil: no agent
	Buildx    *Buildx // nil: the distribution's buildx
}

// NestedIDs returns the ids that a rootless podman in a job may map: as many as an ordinary
// image has, or in a machine of 65536 ids those above the user runner's own.
func (d Data) NestedIDs() string {
	const first, ordinary, own = 100000, 65536, RunnerID
	if d.IDs >= first+ordinary {
		return fmt.Sprintf("%d:%d", first, ordinary)
	}
	return fmt.Sprintf("%d:%d", own+1, ordinary-own-1)
}

// outerPackages are all packages that the outer tree needs to make a user namespace.
var outerPackages = []string{
	"libcap2-bin", "passt", "slirp4netns", "uidmap",
}

var (
	// referencePattern is lenient on purpose: the engine checks names. The pattern only keeps
	// white space and line ends out of a FROM line.
	referencePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@-]*$`)
	packagePattern   = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)
	sha256Pattern    = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// Render returns the Dockerfile. It refuses values that could add an instruction of their own.
func Render(data Data) ([]byte, error) {
	for _, reference := range []string{data.Base, data.OuterBase} {
		if !referencePattern.MatchString(reference) {
			return nil, fmt.Errorf("%q is not an image reference", reference)
		}
	}
	for _, name := range data.Packages {
		if !packagePattern.MatchString(name) {
			return nil, fmt.Errorf("%q is not a package name", name)
		}
	}
	if !slices.Contains(Profiles(), data.Profile) {
		return nil, fmt.Errorf("%q is not a profile", data.Profile)
	}
	if data.FirstID < 1002 {
		return nil, fmt.Errorf("first id %d: ids up to 1001 are taken", data.FirstID)
	}
	if data.IDs < 65536 || int64(data.FirstID)+data.IDs > 1<<32-1 {
		return nil, fmt.Errorf("%d ids from %d on: expected 65536 or more, up to the last id", data.IDs, data.FirstID)
	}
	if data.Agent != nil && !sha256Pattern.MatchString(data.Agent.SHA256) {
		return nil, fmt.Errorf("agent: %q is not a SHA-256 in hex", data.Agent.SHA256)
	}
	if data.Buildx != nil && !sha256Pattern.MatchString(data.Buildx.SHA256) {
		return nil, fmt.Errorf("buildx: %q is not a SHA-256 in hex", data.Buildx.SHA256)
	}
	for _, label := range data.Labels {
		if strings.ContainsAny(label.Key+label.Value, "\n\r\"\\$") {
			return nil, fmt.Errorf("label %s: %q can't be quoted", label.Key, label.Value)
		}
	}
	tmpl, err := template.New("Dockerfile").Option("missingkey=error").Parse(dockerfile)
	if err != nil {
		return nil, err
	}
	packages := data.Packages
	if data.Sudo {
		packages = append([]string{"sudo"}, packages...)
	}
	view := struct {
		Data
		RootfsPackages, OuterPackages         []string
		ProfileFile, AgentArchive, BuildxFile string
	}{data, packages, outerPackages, ProfileFile, AgentArchive, BuildxFile}
	var out bytes.Buffer
	if err := tmpl.Execute(&out, view); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// Outer returns the host's number for an inner uid or gid.
func Outer(inner int) int {
	if inner == 0 {
		return 1001
	}
	return FirstID + inner - 1
}

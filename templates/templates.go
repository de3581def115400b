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

// FirstID is the first outer id of the shift on a Docker host.
const FirstID = 100000

// RunnerID is the uid and gid of the user runner in its machine.
const RunnerID = 1001

// Block is a range of ids of the outer tree.
type Block struct {
	First int
	IDs   int64 // their number
}

// String returns the range as the build's scripts and /etc/subuid write it.
func (b Block) String() string { return fmt.Sprintf("%d:%d", b.First, b.IDs) }

// Shift maps the ids of a machine to those of the outer tree: 0 to RunnerID, and those from 1 on to
// the ids of the blocks, one block after the other.
type Shift []Block

// DockerShift is the shift on a Docker host, for a number of ids.
func DockerShift(ids int64) Shift { return Shift{{FirstID, ids}} }

// PodShift is the shift in a Kubernetes pod with a user namespace. Such a pod has the ids 0 to 65535
// (https://kubernetes.io/docs/concepts/workloads/pods/user-namespaces/), and 0 and RunnerID are
// taken, so that 65534, the highest id of ordinary images, is the machine's last one.
func PodShift() Shift { return Shift{{RunnerID + 1, 65535 - RunnerID}, {1, RunnerID - 1}} }

// IDs returns the number of ids, without 0.
func (s Shift) IDs() (sum int64) {
	for _, one := range s {
		sum += one.IDs
	}
	return sum
}

// check returns an error if newuidmap would refuse the map, or an ordinary image has more ids.
func (s Shift) check() error {
	taken := Shift{{0, 1}, {RunnerID, 1}}
	for _, one := range s {
		if one.First < 0 || one.IDs < 1 || int64(one.First)+one.IDs > 1<<32-1 {
			return fmt.Errorf("ids %s: expected ids up to the last one", one)
		}
		for _, other := range taken {
			if int64(one.First) < int64(other.First)+other.IDs && int64(other.First) < int64(one.First)+one.IDs {
				return fmt.Errorf("ids %s: %s are taken", one, other)
			}
		}
		taken = append(taken, one)
	}
	if s.IDs() < nobody {
		return fmt.Errorf("%d ids: expected %d or more", s.IDs(), nobody)
	}
	return nil
}

// nobody is the highest id of ordinary images.
const nobody = 65534

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
	Shift     Shift
	Labels    []Label
	Agent     *Agent  // nil: no agent
	Buildx    *Buildx // nil: the distribution's buildx
}

// NestedIDs returns the ids that a rootless podman in a job may map: as many as an ordinary
// image has, or in a machine of no more those above the user runner's own.
func (d Data) NestedIDs() Block {
	const first, ordinary = 100000, 65536
	if d.Shift.IDs() >= first+ordinary {
		return Block{first, ordinary}
	}
	return Block{RunnerID + 1, min(d.Shift.IDs(), ordinary-1) - RunnerID}
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
	if err := data.Shift.check(); err != nil {
		return nil, err
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

// Outer returns a Docker host's number for an inner uid or gid.
func Outer(inner int) int {
	if inner == 0 {
		return 1001
	}
	return FirstID + inner - 1
}

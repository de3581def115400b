package dockerx

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"

	"github.com/runnerctl/runnerctl/internal/fleet"
)

// Labels hold the state of containers, volumes and images (State keeps the rest). Any machine
// that reaches the engine sees the same fleets.
const (
	labelFleet  = "dev.runnerctl.fleet"  // name of the fleet
	labelRole   = "dev.runnerctl.role"   // fleet.Role
	labelSchema = "dev.runnerctl.schema" // version of these labels
	labelSpec   = "dev.runnerctl.spec"   // hash of the runner's spec
	labelCPUs   = "dev.runnerctl.cpus"   // cores
	labelRunner = "dev.runnerctl.runner" // on volumes and holds: the runner that they belong to

	labelImageID = "dev.runnerctl.image-id" // on proofs and preloaded images: the runners' image

	// LabelImage marks runner images; its value is the hash in their tag.
	LabelImage = "dev.runnerctl.image"
	// LabelAgent marks images with an agent; its value is the agent's version, or its
	// archive's hash.
	LabelAgent = "dev.runnerctl.agent"
	// LabelProfile is on runner images; its value is the profile of their packages.
	LabelProfile = "dev.runnerctl.profile"
	// LabelBuildx is on runner images; its value is the version of the installed buildx, or
	// its hash; "distribution" if buildx is the rootfs's own package.
	LabelBuildx = "dev.runnerctl.buildx"

	schema = 2

	roleRunner = string(fleet.Member)
	roleLock   = string(fleet.Lock)
	roleHold   = string(fleet.Hold)

	roleSupervisor = string(fleet.Supervisor)
	roleState      = string(fleet.StateRole)
	roleCredential = string(fleet.Credential)
	roleCache      = string(fleet.CacheRole)
	rolePreload    = string(fleet.Preload)
)

func ownLabels(fleetName, role string) map[string]string {
	return map[string]string{labelFleet: fleetName, labelRole: role, labelSchema: strconv.Itoa(schema)}
}

// members selects a fleet's runners, or their volumes; "" selects those of every fleet.
func members(fleetName string) filters.Args {
	args := filters.NewArgs(filters.Arg("label", labelRole+"="+roleRunner))
	if fleetName == "" {
		args.Add("label", labelFleet)
	} else {
		args.Add("label", labelFleet+"="+fleetName)
	}
	return args
}

// runnerRoles are the roles of runner containers: fleet members, throw-away and kept runners, and
// those that pull images for others.
var runnerRoles = map[string]bool{string(fleet.Member): true, string(fleet.ThrowAway): true, string(fleet.Kept): true, rolePreload: true}

// isRunner reports whether a container is a runner. A container of an image that a user
// committed from a runner has a runner's labels too, but no volume that runnerctl named.
func isRunner(one container.Summary) bool {
	return runnerRoles[one.Labels[labelRole]] && slices.ContainsFunc(one.Mounts, func(mounted container.MountPoint) bool {
		return mounted.Destination == dataRoot && strings.HasSuffix(mounted.Name, volumeName(""))
	})
}

// SchemaError means that a newer runnerctl created the object.
type SchemaError struct{ Object, Found string }

func (e *SchemaError) Error() string {
	return fmt.Sprintf("%s was created by a newer runnerctl (label schema %s; this version supports up to %d)", e.Object, e.Found, schema)
}

// Hint returns advice for the user.
func (e *SchemaError) Hint() string { return "use the runnerctl that created it, or a newer version" }

func checkSchema(object string, labels map[string]string) error {
	found := labels[labelSchema]
	if number, err := strconv.Atoi(found); err != nil || number > schema {
		return &SchemaError{Object: object, Found: found}
	}
	return nil
}

package dockerx

import (
	"fmt"
	"strconv"

	"github.com/docker/docker/api/types/filters"
)

// Labels are the only state that runnerctl keeps: any machine that reaches the
// engine sees the same fleets.
const (
	labelFleet  = "dev.runnerctl.fleet"  // name of the fleet
	labelRole   = "dev.runnerctl.role"   // runner, lock, probe; later supervisor, mirror
	labelSchema = "dev.runnerctl.schema" // version of these labels
	labelSpec   = "dev.runnerctl.spec"   // hash of the runner's spec
	labelCPUs   = "dev.runnerctl.cpus"   // cores
	labelRunner = "dev.runnerctl.runner" // on volumes: the runner it belongs to

	// LabelImage marks runner images; its value is the hash in their tag.
	LabelImage = "dev.runnerctl.image"

	schema = 1

	roleRunner = "runner"
	roleLock   = "lock"
)

func ownLabels(fleet, role string) map[string]string {
	return map[string]string{labelFleet: fleet, labelRole: role, labelSchema: strconv.Itoa(schema)}
}

// byRole selects what is ours; fleet "" selects every fleet's.
func byRole(fleet, role string) filters.Args {
	args := filters.NewArgs(filters.Arg("label", labelRole+"="+role))
	if fleet == "" {
		args.Add("label", labelFleet)
	} else {
		args.Add("label", labelFleet+"="+fleet)
	}
	return args
}

// SchemaError is met where a newer runnerctl made the object.
type SchemaError struct{ Object, Found string }

func (e *SchemaError) Error() string {
	return fmt.Sprintf("%s was made by a newer runnerctl (label schema %s, this one knows %d)", e.Object, e.Found, schema)
}

// Hint says what to do.
func (e *SchemaError) Hint() string { return "use the runnerctl that made it, or a newer one" }

func checkSchema(object string, labels map[string]string) error {
	found := labels[labelSchema]
	if number, err := strconv.Atoi(found); err != nil || number > schema {
		return &SchemaError{Object: object, Found: found}
	}
	return nil
}

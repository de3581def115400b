package export

import (
	"errors"

	"github.com/runnerctl/runnerctl/internal/hint"
)

// ErrECS explains the options of a container that a task definition lacks
// (docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definition_parameters.html).
var ErrECS = hint.Add(errors.New("ECS can't run these runners: a task definition has no seccomp profile other than the default one, and no unmasked /proc; Fargate also has no devices, so no /dev/net/tun, and no added capabilities but SYS_PTRACE"),
	"run them on an EC2 machine: host cloud-init prints its user-data")

package config

import "encoding/json"

// Dockerd are settings of a runner's own Docker daemon, with the keys of daemon.json.
// They are no place for secrets: the container's environment and the jobs have them.
type Dockerd map[string]any

// ownDockerd are the keys that a runner itself stands on.
var ownDockerd = []string{"containerd", "data-root", "exec-root", "group", "hosts", "pidfile"}

// JSON is the text for daemon.json, the same for the same settings; "" where there are none.
func (d Dockerd) JSON() (string, error) {
	if len(d) == 0 {
		return "", nil
	}
	text, err := json.Marshal(map[string]any(d))
	return string(text), err
}

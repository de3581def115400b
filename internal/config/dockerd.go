package config

import "encoding/json"

// Dockerd holds settings of a runner's own Docker daemon, with the keys of daemon.json. They
// are no place for secrets: they are in the container's environment, and jobs can read them.
type Dockerd map[string]any

// ownDockerd are the keys that a runner sets itself.
var ownDockerd = []string{"containerd", "data-root", "exec-root", "group", "hosts", "pidfile"}

// JSON returns the text for daemon.json. The same settings give the same text; "" if there are
// none.
func (d Dockerd) JSON() (string, error) {
	if len(d) == 0 {
		return "", nil
	}
	text, err := json.Marshal(map[string]any(d))
	return string(text), err
}

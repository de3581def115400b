package dockerx

import (
	"bytes"
	_ "embed"
	"encoding/json"
)

//go:generate sh -c "go run ./seccompgen >seccomp.json"

//go:embed seccomp.json
var seccompProfile []byte

// seccompOption is the profile in the form that the engine takes.
func seccompOption() string {
	var compact bytes.Buffer
	if err := json.Compact(&compact, seccompProfile); err != nil {
		panic(err) // embedded and tested
	}
	return "seccomp=" + compact.String()
}

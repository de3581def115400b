package dockerx

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
)

//go:generate sh -c "go run ./seccompgen >seccomp.json"

//go:embed seccomp.json
var seccompProfile []byte

// openable maps the words of runners.syscalls to the system calls that they open.
var openable = map[string][]string{
	"io_uring": {"io_uring_enter", "io_uring_register", "io_uring_setup"},
	"perf":     {"perf_event_open"},
}

// seccompOption returns the profile in the form that the engine takes. The words of
// runners.syscalls open further calls.
func seccompOption(opened []string) string {
	profile := seccompProfile
	if len(opened) > 0 {
		profile = opening(profile, opened)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, profile); err != nil {
		panic(err) // embedded and tested
	}
	return "seccomp=" + compact.String()
}

// opening allows the words' system calls in a profile, and removes them from the rules that
// refuse them.
func opening(profile []byte, words []string) []byte {
	var whole map[string]json.RawMessage
	var rules []map[string]any
	if err := json.Unmarshal(profile, &whole); err != nil {
		panic(err) // embedded and tested
	}
	if err := json.Unmarshal(whole["syscalls"], &rules); err != nil {
		panic(err)
	}
	var calls []string
	for _, word := range words {
		calls = append(calls, openable[word]...)
	}
	for _, rule := range rules {
		if names, ok := rule["names"].([]any); ok && rule["action"] == "SCMP_ACT_ERRNO" {
			rule["names"] = slices.DeleteFunc(names, func(name any) bool { return slices.Contains(calls, fmt.Sprint(name)) })
		}
	}
	rules = append(rules, map[string]any{"names": calls, "action": "SCMP_ACT_ALLOW"})
	whole["syscalls"], _ = json.Marshal(rules) // both were JSON before
	opened, _ := json.Marshal(whole)
	return opened
}

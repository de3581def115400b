//go:build !linux

package dockerx

import "syscall"

// limitSilence leaves it at the probes of an idle connection: other systems have no
// limit like Linux's for what was sent and is not confirmed.
func limitSilence(string, string, syscall.RawConn) error { return nil }

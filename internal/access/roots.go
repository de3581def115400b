package access

import (
	"os"
	"slices"
)

// bundles are the files in which systems keep their trusted certificate authorities.
var bundles = []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"}

// SystemRoots returns this machine's certificate authorities, or nil if none of the files can
// be read.
func SystemRoots() []byte {
	for _, path := range bundles {
		if roots, err := os.ReadFile(path); err == nil {
			return roots
		}
	}
	return nil
}

// RootsWith returns this machine's certificate authorities and more of them (PEM).
func RootsWith(more []byte) []byte {
	return slices.Concat(SystemRoots(), []byte("\n"), more)
}

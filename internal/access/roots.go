package access

import "os"

// bundles are the files in which systems keep the authorities that they trust.
var bundles = []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"}

// SystemRoots are this machine's certificate authorities; none if they are in no file.
func SystemRoots() []byte {
	for _, path := range bundles {
		if roots, err := os.ReadFile(path); err == nil {
			return roots
		}
	}
	return nil
}

//go:build long

package e2e

// The long tests run all cases of each kind (see short.go).
const (
	Thorough = true
	Killings = 20
	ManyJobs = 24
)

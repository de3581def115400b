package commands

// The tests are outside the package, because they share internal/e2e, which imports it.
const (
	CompleteLimit = completeLimit
	VersionLimit  = versionLimit
)

var (
	NewApp     = newApp
	ParseSince = parseSince
	Shells     = shells
)

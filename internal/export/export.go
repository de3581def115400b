// Package export writes the definition of a fleet's runners for other tools than runnerctl. All of
// it is a pure function of the settings: the same settings give the same files, without an engine.
// It imports dockerx, ghapi and hint.
package export

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/ghapi"
)

//go:embed files
var templates embed.FS

// Fleet is a fleet as other tools start it.
type Fleet struct {
	Name      string
	Target    ghapi.Target
	URL       string // of Target
	Count     int
	Spares    int
	Ephemeral bool
	Labels    []string
	Group     string
	Runner    dockerx.Definition
}

// Files are the files of an export by their path, with slashes, in its folder.
type Files map[string][]byte

// Write writes the files. Scripts are executable.
func (f Files) Write(folder string) error {
	for _, path := range slices.Sorted(maps.Keys(f)) {
		target := filepath.Join(folder, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return fmt.Errorf("export: %w", err)
		}
		mode := os.FileMode(0o644)
		if strings.HasSuffix(path, ".sh") {
			mode = 0o755
		}
		if err := os.WriteFile(target, f[path], mode); err != nil {
			return fmt.Errorf("export: %w", err)
		}
	}
	return nil
}

// seccompFile is the profile of the tools that use an engine.
const seccompFile = "seccomp.json"

// render executes the template of each file, and names the files.
func render(of any, names map[string]string) (Files, error) {
	made := Files{}
	for file, from := range names {
		text, err := templates.ReadFile("files/" + from)
		if err != nil {
			return nil, err
		}
		parsed, err := template.New(from).Option("missingkey=error").Funcs(template.FuncMap{
			"shell": shellQuote, "json": jsonQuote,
		}).Parse(string(text))
		if err != nil {
			return nil, err
		}
		var out bytes.Buffer
		if err := parsed.Execute(&out, of); err != nil {
			return nil, err
		}
		made[file] = out.Bytes()
	}
	return made, nil
}

// jsonQuote returns a value in JSON, which YAML and HCL read too.
func jsonQuote(value any) (string, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return strings.TrimSpace(out.String()), err
}

// shellQuote returns a word for sh.
func shellQuote(word string) string {
	if word != "" && !strings.ContainsFunc(word, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("@%+=:,./_-", r)
	}) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// Package ask writes a new runnerctl.yaml from answers: those given by flags, those of a person
// at a terminal, and defaults. It may import ghapi and internal/{config,hint,session}.
package ask

import (
	"bytes"
	"fmt"
	"os"

	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/hint"
	"github.com/runnerctl/runnerctl/internal/session"
)

// Options are the options of init.
type Options struct {
	File  string
	Force bool              // overwrite the file
	Yes   bool              // use the defaults instead of questions
	Given map[string]string // answers by Question.Name
	Fleet string            // its name; "" for the default
}

// Run asks for the answers that are missing, and writes the file.
func (o Options) Run(s session.Session) error {
	if _, err := os.Stat(o.File); err == nil && !o.Force {
		return hint.Add(fmt.Errorf("%s already exists", o.File), "--force overwrites it")
	}
	wanted := config.Default()
	if o.Fleet != "" {
		wanted.Name = o.Fleet
	}
	for _, q := range Questions() {
		answer, err := o.answer(s, q, wanted)
		if err != nil {
			return err
		}
		if err := q.set(&wanted, answer); err != nil {
			return &session.UsageError{Problem: "--" + q.Name + ": " + err.Error()}
		}
	}
	if err := wanted.Validate(); err != nil {
		return err
	}
	var text bytes.Buffer
	if err := config.Write(&text, wanted); err != nil {
		return err
	}
	if err := os.WriteFile(o.File, text.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	return nil
}

func (o Options) answer(s session.Session, q Question, wanted config.Config) (string, error) {
	if given, ok := o.Given[q.Name]; ok {
		return given, nil
	}
	preset := q.preset(wanted)
	if o.Yes {
		return preset, nil
	}
	if !s.Asks() {
		return "", &session.UsageError{Problem: "no terminal for questions: use --" + q.Name + ", or --yes for the defaults"}
	}
	if q.choices == nil {
		return s.Prompt.Input(q.Text, preset, q.help, func(text string) error {
			trial := wanted
			if err := q.set(&trial, text); err != nil {
				return err
			}
			return trial.Validate()
		})
	}
	const other = "another image…"
	answer, err := s.Prompt.Select(q.Text, append(q.choices, other), preset)
	if err == nil && answer == other {
		return s.Prompt.Input("Image", preset, "any glibc Debian or Ubuntu image", func(string) error { return nil })
	}
	return answer, err
}

package ui

import (
	"errors"
	"os"

	"github.com/AlecAivazis/survey/v2"
	"github.com/AlecAivazis/survey/v2/core"
	"github.com/AlecAivazis/survey/v2/terminal"
)

// ErrInterrupted reports Ctrl-C at a question.
var ErrInterrupted = errors.New("interrupted")

// Prompter asks a person. It hides survey, which is archived.
type Prompter interface {
	Input(message, preset, help string, validate func(string) error) (string, error)
	Select(message string, options []string, preset string) (string, error)
	Confirm(message string, preset bool) (bool, error)
}

type surveyPrompter struct{ stdio survey.AskOpt }

// PromptColor switches the color of questions. survey keeps the switch in a variable of its
// own, and respects NO_COLOR.
func PromptColor(on bool) { core.DisableColor = !on }

// NewPrompter returns a Prompter for a terminal. Questions go to errs, so that stdout stays
// data.
func NewPrompter(in, errs *os.File) Prompter {
	return surveyPrompter{survey.WithStdio(in, errs, errs)}
}

func (p surveyPrompter) ask(question survey.Prompt, answer any, options ...survey.AskOpt) error {
	err := survey.AskOne(question, answer, append(options, p.stdio)...)
	if errors.Is(err, terminal.InterruptErr) {
		return ErrInterrupted
	}
	return err
}

func (p surveyPrompter) Input(message, preset, help string, validate func(string) error) (string, error) {
	var answer string
	err := p.ask(&survey.Input{Message: message, Default: preset, Help: help}, &answer, survey.WithValidator(func(given any) error {
		text, _ := given.(string) // survey returns answers of Input as strings
		return validate(text)
	}))
	return answer, err
}

func (p surveyPrompter) Select(message string, options []string, preset string) (string, error) {
	var answer string
	err := p.ask(&survey.Select{Message: message, Options: options, Default: preset}, &answer)
	return answer, err
}

func (p surveyPrompter) Confirm(message string, preset bool) (bool, error) {
	var answer bool
	err := p.ask(&survey.Confirm{Message: message, Default: preset}, &answer)
	return answer, err
}

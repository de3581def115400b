package ui

import (
	"errors"
	"os"

	"github.com/AlecAivazis/survey/v2"
	"github.com/AlecAivazis/survey/v2/core"
	"github.com/AlecAivazis/survey/v2/terminal"
)

// ErrInterrupted is Ctrl-C at a question.
var ErrInterrupted = errors.New("interrupted")

// Prompter asks a person. survey is archived and stands behind this alone.
type Prompter interface {
	Input(message, preset, help string, validate func(string) error) (string, error)
	Select(message string, options []string, preset string) (string, error)
	Confirm(message string, preset bool) (bool, error)
}

type surveyPrompter struct{ stdio survey.AskOpt }

// PromptColor switches the colour of questions: survey keeps it in a variable
// of its own, and heeds NO_COLOR.
func PromptColor(on bool) { core.DisableColor = !on }

// NewPrompter asks on a terminal; questions go to errs, so that stdout stays data.
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
		text, _ := given.(string) // survey gives Input's answers as strings
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

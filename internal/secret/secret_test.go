package secret_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/runnerctl/runnerctl/internal/secret"
)

func TestNeverPrinted(t *testing.T) {
	const value = "ghp_0123456789"
	held := struct {
		Token secret.Text
		Other *secret.Text
		inner secret.Text
	}{Token: secret.New(value), inner: secret.New(value)}
	held.Other = &held.Token
	encoded, err := json.Marshal(held)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "token", held.Token, "all", held)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "token", held.Token, "all", held)
	printed := string(encoded) + log.String() + fmt.Sprintf("%v %+v %#v %s %q %x %d", held, held, held, held.Token, held.Token, held.Token, held.Token) +
		errors.Join(fmt.Errorf("%v", held.Token)).Error()
	if strings.Contains(printed, value) || strings.Contains(printed, fmt.Sprintf("%x", value)) {
		t.Errorf("the secret is in %s", printed)
	}
	if held.Token.Reveal() != value || held.Token.Empty() {
		t.Error("Reveal does not give it")
	}
}

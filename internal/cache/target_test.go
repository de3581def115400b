package cache

import (
	"reflect"
	"testing"
)

func TestTargetOf(t *testing.T) {
	for target, want := range map[string]Target{
		"https://github.com/acme/api":           {"github.com", "https://token.actions.githubusercontent.com", "https://results-receiver.actions.githubusercontent.com", "https://api.github.com"},
		"https://acme.ghe.com/acme/api":         {"acme.ghe.com", "https://token.actions.acme.ghe.com", "https://results-receiver.actions.acme.ghe.com", "https://api.acme.ghe.com"},
		"https://GitHub.example:8443/acme":      {"github.example:8443", "https://github.example:8443/_services/token", "https://github.example:8443", "https://github.example:8443/api/v3"},
		"https://ghe.com.example/enterprises/e": {"ghe.com.example", "https://ghe.com.example/_services/token", "https://ghe.com.example", "https://ghe.com.example/api/v3"},
	} {
		if got, err := TargetOf(target); err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", target, got, err, want)
		}
	}
	if _, err := TargetOf("https://[::1"); err == nil {
		t.Error("no URL: no error")
	}
}

func TestWith(t *testing.T) {
	one, two, changed := Target{Name: "a", Issuer: "1"}, Target{Name: "b"}, Target{Name: "a", Issuer: "2"}
	got := Config{}.With(one).With(two).With(changed)
	if want := []Target{two, changed}; !reflect.DeepEqual(got.Targets, want) {
		t.Errorf("got %+v, want %+v", got.Targets, want)
	}
}

package ghapi

import "testing"

func TestParseTarget(t *testing.T) {
	good := map[string]Target{
		"https://github.com/acme/api":                {Repo, "github.com", "acme", "api"},
		"https://github.com/acme/api.git":            {Repo, "github.com", "acme", "api"},
		"https://GitHub.com/acme/api/":               {Repo, "github.com", "acme", "api"},
		"https://github.com/acme":                    {Org, "github.com", "acme", ""},
		"https://github.com/enterprises/big":         {Enterprise, "github.com", "big", ""},
		"https://ghes.example.com:8443/acme/my.repo": {Repo, "ghes.example.com:8443", "acme", "my.repo"},
	}
	for text, want := range good {
		if got, err := ParseTarget(text); err != nil || got != want {
			t.Errorf("%s: %+v %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "github.com/acme", "http://github.com/acme", "git@github.com:acme/api", "https://github.com", "https://github.com/enterprises",
		"https://github.com/a/b/c", "https://user:secret@github.com/a/b", "https://github.com/a/b?x=1", "https://github.com/a b"} {
		if got, err := ParseTarget(text); err == nil {
			t.Errorf("%q: got %+v, want an error", text, got)
		}
	}
}

func TestURLs(t *testing.T) {
	for text, want := range map[string]string{
		"https://github.com/acme":                  "https://api.github.com/",
		"https://acme.ghe.com/acme/api":            "https://api.acme.ghe.com/",
		"https://ghes.example.com/enterprises/big": "https://ghes.example.com/api/v3/",
		"https://ghes.example.com:8443/acme":       "https://ghes.example.com:8443/api/v3/",
	} {
		target, err := ParseTarget(text)
		if err != nil || target.APIURL() != want || target.URL() != text {
			t.Errorf("%s: %s %s %v, want %s %s", text, target.APIURL(), target.URL(), err, want, text)
		}
	}
}

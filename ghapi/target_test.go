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
			t.Errorf("%s: %+v %v", text, got, err)
		}
	}
	for _, text := range []string{"", "github.com/acme", "http://github.com/acme", "git@github.com:acme/api", "https://github.com", "https://github.com/enterprises",
		"https://github.com/a/b/c", "https://user:secret@github.com/a/b", "https://github.com/a/b?x=1", "https://github.com/a b"} {
		if got, err := ParseTarget(text); err == nil {
			t.Errorf("%q is taken: %+v", text, got)
		}
	}
}

func TestNewClient(t *testing.T) {
	for host, want := range map[string]string{"github.com": "https://api.github.com/", "ghes.example.com": "https://ghes.example.com/api/v3/"} {
		client, err := NewClient(Target{Kind: Org, Host: host, Owner: "acme"}, nil)
		if err != nil || client.BaseURL.String() != want {
			t.Errorf("%s: %v %v", host, client.BaseURL, err)
		}
	}
}

package ghapi

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// A list without digests: they are the release's, which github.com is asked for without
// the token of another GitHub.
func TestDownloadsWithoutDigests(t *testing.T) {
	ofAsset, ofNotes := strings.Repeat("A1", 32), strings.Repeat("b2", 32)
	asked := 0
	public := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if r.Header.Get("Authorization") != "" || r.URL.Path != "/repos/actions/runner/releases/tags/v2.330.0" {
			t.Errorf("%s with %q, want the release, without a token", r.URL.Path, r.Header.Get("Authorization"))
		}
		fmt.Fprintf(w, `{"body":"notes\n<!-- BEGIN SHA linux-arm64 -->%s<!-- END SHA linux-arm64 -->\n<!-- BEGIN SHA linux-arm -->no digest<!-- END SHA linux-arm -->",
			"assets":[{"name":"actions-runner-linux-x64-2.330.0.tar.gz","digest":"sha256:%s"},{"name":"other","digest":"sha256:00"}]}`, ofNotes, ofAsset)
	}))
	t.Cleanup(public.Close)
	address, err := url.Parse(public.URL)
	if err != nil {
		t.Fatal(err)
	}
	f := newFake(t, "repos/acme/api")
	var list []string
	for _, arch := range []string{"x64", "arm64", "arm"} {
		list = append(list, fmt.Sprintf(`{"os":"linux","architecture":%q,"filename":"actions-runner-linux-%[1]s-2.330.0.tar.gz"}`, arch))
	}
	f.more["GET /repos/acme/api/actions/runners/downloads"] = "[" + strings.Join(list, ",") + "]"
	client, err := New(f.target(t), withGoodToken(), Options{CAs: f.certificate(), Through: func(inner http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.URL.Host == "api.github.com" {
				r = r.Clone(r.Context())
				r.URL.Scheme, r.URL.Host, r.Host = address.Scheme, address.Host, ""
			}
			return inner.RoundTrip(r)
		})
	}})
	if err != nil {
		t.Fatal(err)
	}
	all, err := client.Downloads(t.Context())
	if err != nil || len(all) != 3 || asked != 1 {
		t.Fatalf("got %+v, %v, asked %d times, want 3, asked once", all, err, asked)
	}
	for i, want := range []string{strings.ToLower(ofAsset), ofNotes, ""} {
		if all[i].SHA256 != want {
			t.Errorf("%s: %q, want %q", all[i].Arch, all[i].SHA256, want)
		}
	}
}

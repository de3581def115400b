package ghapi

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestEveryKindOfTarget(t *testing.T) {
	for _, route := range []string{"repos/acme/api", "orgs/acme", "enterprises/big"} {
		t.Run(route, func(t *testing.T) {
			f := newFake(t, route)
			client, _ := f.client(t, withGoodToken())
			made, jit, err := client.GenerateJIT(t.Context(), "ci-x", 1, []string{"self-hosted", "x"}, "_work")
			if err != nil || made.ID != 1 || made.Name != "ci-x" || made.Online || jit.Reveal() != "jit-of-ci-x-1" || !made.HasLabels([]string{"Self-Hosted", "X"}) || made.HasLabels([]string{"y"}) {
				t.Errorf("got %+v, %v, want ci-x with id 1, offline, with the labels self-hosted and x", made, err)
			}
			token, err := client.RegistrationToken(t.Context())
			if err != nil || token.Reveal() != "made-registration-token" {
				t.Errorf("got %q, %v, want %q", token.Reveal(), err, "made-registration-token")
			}
			token, err = client.RemoveToken(t.Context())
			if err != nil || token.Reveal() != "made-remove-token" {
				t.Errorf("got %q, %v, want %q", token.Reveal(), err, "made-remove-token")
			}
			for i := range 249 {
				f.add(fmt.Sprintf("other-%d", i))
			}
			f.runners[7].Status, f.runners[7].Busy = "online", true
			all, err := client.Runners(t.Context())
			if err != nil || len(all) != 250 || !all[7].Online || !all[7].Busy || all[8].Online {
				t.Errorf("%d runners, %v, want 250, the 8th online and busy", len(all), err)
			}
			found, err := client.RunnerByName(t.Context(), "other-200")
			if err != nil || found == nil || found.Name != "other-200" {
				t.Errorf("got %v, %v, want other-200", found, err)
			}
			if found, err := client.RunnerByName(t.Context(), "nobody"); err != nil || found != nil {
				t.Errorf("got %v, %v, want none", found, err)
			}
			if err := client.Remove(t.Context(), made.ID); err != nil {
				t.Error(err)
			}
			if err := client.Remove(t.Context(), made.ID); err != nil {
				t.Errorf("of one that is gone: %v", err)
			}
			var busy *BusyError
			if err := client.Remove(t.Context(), all[7].ID); !errors.As(err, &busy) || busy.ID != all[7].ID {
				t.Errorf("error %v, want %T of id %d", err, busy, all[7].ID)
			}
		})
	}
}

func TestMintsSideBySide(t *testing.T) {
	f := newFake(t, "orgs/acme")
	for _, status := range []int{500, 502, 0} {
		f.faults = append(f.faults, fault{words: "POST", status: status, carried: true})
	}
	f.faults = append(f.faults, fault{words: "POST", status: 403, header: map[string]string{"Retry-After": "1"}})
	client, _ := f.client(t, withGoodToken())
	var group sync.WaitGroup
	for i := range 100 {
		group.Go(func() {
			if _, _, err := client.GenerateJIT(t.Context(), fmt.Sprintf("ci-%d", i), 1, []string{"x"}, "_work"); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if len(f.runners) != 100 {
		t.Errorf("%d registered, want 100", len(f.runners))
	}
}

func TestGroups(t *testing.T) {
	f := newFake(t, "orgs/acme")
	client, _ := f.client(t, withGoodToken())
	if group, err := client.GroupByName(t.Context(), "Default"); err != nil || group.ID != 1 {
		t.Errorf("of a plan without groups: %+v %v, want id 1", group, err)
	}
	f.more["GET /orgs/acme/actions/runner-groups"] = `{"total_count":2,"runner_groups":[{"id":4,"name":"Default","default":true},{"id":9,"name":"Open","allows_public_repositories":true}]}`
	for name, want := range map[string]Group{"": {4, "Default", false}, "default": {4, "Default", false}, "open": {9, "Open", true}} {
		if group, err := client.GroupByName(t.Context(), name); err != nil || group != want {
			t.Errorf("%q: %+v %v, want %+v", name, group, err, want)
		}
	}
	_, err := client.GroupByName(t.Context(), "gpu")
	if err == nil || !strings.Contains(hintOf(err), "Default, Open") {
		t.Errorf("%v, hint %q, want Default, Open", err, hintOf(err))
	}
	if public, err := client.Public(t.Context(), Group{AllowsPublic: true}); err != nil || !public {
		t.Errorf("public %t, %v, want true", public, err)
	}

	repo := newFake(t, "repos/acme/api")
	client, _ = repo.client(t, withGoodToken())
	if _, err := client.GroupByName(t.Context(), "gpu"); err == nil {
		t.Error("a repository has groups, want an error")
	}
	if group, err := client.GroupByName(t.Context(), ""); err != nil || group.ID != 1 {
		t.Errorf("got %+v, %v, want id 1", group, err)
	}
}

func TestPublic(t *testing.T) {
	f := newFake(t, "repos/acme/api")
	client, _ := f.client(t, withGoodToken())
	for body, want := range map[string]bool{
		`{"private":false,"visibility":"public"}`: true, `{"private":true,"visibility":"private"}`: false,
		`{"private":true,"visibility":"internal"}`: false, `{"private":false}`: true,
	} {
		f.more["GET /repos/acme/api"] = body
		if public, err := client.Public(t.Context(), Group{}); err != nil || public != want {
			t.Errorf("%s: %v %v, want %v", body, public, err, want)
		}
	}
}

func TestDownloads(t *testing.T) {
	f := newFake(t, "repos/acme/api")
	client, _ := f.client(t, withGoodToken())
	f.more["GET /repos/acme/api/actions/runners/downloads"] = `[{"os":"linux","architecture":"arm64","download_url":"https://x/actions-runner-linux-arm64-2.330.0.tar.gz","filename":"actions-runner-linux-arm64-2.330.0.tar.gz","sha256_checksum":"ab"},` +
		`{"os":"win","architecture":"x64","download_url":"https://x/y.zip","filename":"y.zip"}]`
	all, err := client.Downloads(t.Context())
	want := Download{"linux", "arm64", "https://x/actions-runner-linux-arm64-2.330.0.tar.gz", "actions-runner-linux-arm64-2.330.0.tar.gz", "ab", "2.330.0"}
	if err != nil || len(all) != 2 || all[0] != want || all[1].Version != "" {
		t.Errorf("got %+v, %v, want 2, the first %+v", all, err, want)
	}
}

func TestDeprecation(t *testing.T) {
	f := newFake(t, "repos/acme/api")
	client, _ := f.client(t, withGoodToken())
	f.more["GET /repos/acme/api/actions/runners/deprecations/2.330.0"] = `{"runtime_deprecates_at":"2026-12-01T00:00:00Z","registration_deprecates_at":null}`
	when, known, err := client.Deprecation(t.Context(), "2.330.0")
	if err != nil || !known || !when.Runtime.Equal(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)) || !when.Registration.IsZero() {
		t.Errorf("got %+v, %v, %v, want 2026-12-01 for the runtime alone", when, known, err)
	}
	early, late := when.Runtime.AddDate(0, -1, 0), when.Runtime
	for _, test := range []struct {
		one  Deprecation
		want time.Time
	}{
		{Deprecation{Runtime: late}, late}, {Deprecation{Registration: late}, late},
		{Deprecation{Runtime: late, Registration: early}, early}, {Deprecation{Runtime: early, Registration: late}, early}, {},
	} {
		if got := test.one.First(); got != test.want {
			t.Errorf("%+v: %s, want %s", test.one, got, test.want)
		}
	}
	if _, known, err := client.Deprecation(t.Context(), "1.0.0"); err != nil || known {
		t.Errorf("known %t, %v, want false", known, err)
	}
}

func TestHasJIT(t *testing.T) {
	f := newFake(t, "orgs/acme")
	client, _ := f.client(t, withGoodToken())
	for version, want := range map[string]bool{"3.9.12": false, "3.10.0": true, "4.0.0": true, "2.22.1": false, "": true} {
		f.more["GET /meta"] = fmt.Sprintf(`{"installed_version":%q}`, version)
		if has, err := client.HasJIT(t.Context()); err != nil || has != want {
			t.Errorf("%s: %v %v, want %v", version, has, err, want)
		}
	}
}

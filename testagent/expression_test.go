package main

import (
	"encoding/json"
	"testing"

	"github.com/ChristopherHX/github-act-runner/protocol"
)

func TestExpressions(t *testing.T) {
	var contexts map[string]any
	if err := json.Unmarshal([]byte(`{
		"github": {"ref": "refs/heads/Main", "event": {"labels": [{"name": "bug"}, {"name": "big"}]}},
		"matrix": {"go": 1.25, "os": "ubuntu-latest", "slow": true}, "steps": {"a": {"outputs": {"x": "1"}}},
		"job": {"services": {"db": {"ports": {"5432": "32768"}}}}, "env": {}}`), &contexts); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"matrix.go":                                              "1.25",
		"github.REF":                                             "refs/heads/Main",
		"github['ref']":                                          "refs/heads/Main",
		"github.none":                                            "",
		"github.none.other":                                      "",
		"job.services.db.ports['5432']":                          "32768",
		"job.services.db.ports[5432]":                            "32768",
		"github.event.labels[1].name":                            "big",
		"join(github.event.labels.*.name, ', ')":                 "bug, big",
		"contains(github.event.labels.*.name, 'BUG')":            "true",
		"contains('Hello', 'ell')":                               "true",
		"contains(fromJSON('[1, 2]'), 2)":                        "true",
		"github.ref == 'REFS/heads/main'":                        "true",
		"startsWith(github.ref, 'refs/') && endsWith('ab', 'B')": "true",
		"matrix.slow && 'yes' || 'no'":                           "yes",
		"!matrix.slow && 'yes' || 'no'":                          "no",
		"env.NONE || 'default'":                                  "default",
		"'' == 0":                                                "true",
		"null == ''":                                             "true",
		"'abc' == 0":                                             "false",
		"'abc' != 0":                                             "true",
		"1 < '2'":                                                "true",
		"matrix.go >= 1.25":                                      "true",
		"steps.a.outputs.x == 1":                                 "true",
		"format('{0} {{{1}}} it''s', 'a', 2)":                    "a {2} it's",
		"toJSON(steps.a.outputs)":                                "{\n  \"x\": \"1\"\n}",
		"fromJSON('{\"a\": [1]}').a[0]":                          "1",
		"success()":                                              "false",
		"failure() && steps.a":                                   "Object",
		"always()":                                               "true",
		"cancelled()":                                            "false",
		"join('a')":                                              "a",
		"1000000":                                                "1000000",
		"0xff":                                                   "255",
	} {
		got, err := expressions{contexts, failed}.evaluate(text)
		if err != nil || textOf(got) != want {
			t.Errorf("%s: %q, want %q %v", text, textOf(got), want, err)
		}
	}
	for _, text := range []string{"none.x", "hashFiles('x')", "format('{1}', 1)", "format('}', 1)", "1 +", "fromJSON('{')"} {
		if got, err := (expressions{contexts, failed}).evaluate(text); err == nil {
			t.Errorf("%s: %v", text, got)
		}
	}
	var token protocol.TemplateToken
	if err := json.Unmarshal([]byte(`{"type":2,"map":[{"key":"A","value":"x"},{"key":"B","value":{"type":3,"expr":"matrix.go"}},{"key":"C","value":1},{"key":"D","value":true}]}`), &token); err != nil {
		t.Fatal(err)
	}
	if got, err := (expressions{contexts, failed}).texts(&token); err != nil || got["A"]+got["B"]+got["C"]+got["D"] != "x1.251true" {
		t.Errorf("%v %v", got, err)
	}
}

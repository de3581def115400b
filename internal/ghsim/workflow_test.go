package ghsim

import (
	"encoding/json"
	"slices"
	"testing"
)

// Texts are rewritten as GitHub rewrites them for the runner.
func TestTemplate(t *testing.T) {
	for text, want := range map[string]string{
		"plain":                           `"plain"`,
		"":                                `""`,
		"${{ matrix.os }}":                `{"expr":"matrix.os","type":3}`,
		"a ${{ x }} b ${{y}}":             `{"expr":"format('a {0} b {1}', x, y)","type":3}`,
		"it's {${{ x }}}":                 `{"expr":"format('it''s {{{0}}}', x)","type":3}`,
		"${{ format('{0}}}', x) }}":       `{"expr":"format('{0}}}', x)","type":3}`,
		"docker ps --format '{{.Names}}'": `"docker ps --format '{{.Names}}'"`,
	} {
		if got, err := json.Marshal(template(text)); err != nil || string(got) != want {
			t.Errorf("%s: %s, want %s %v", text, got, want, err)
		}
	}
}

func TestCondition(t *testing.T) {
	for text, want := range map[string]string{
		"":                               "success()",
		"always()":                       "always()",
		"${{ failure() }}":               "failure()",
		"matrix.os == 'x'":               "success() && (matrix.os == 'x')",
		"${{ matrix.os == 'x' }}":        "success() && (matrix.os == 'x')",
		"always() && steps.a.outputs.b":  "always() && steps.a.outputs.b",
		"!cancelled()":                   "!cancelled()",
		"env.A == 'success' && env.B":    "success() && (env.A == 'success' && env.B)",
		"  github.ref == 'refs/heads/x'": "success() && (github.ref == 'refs/heads/x')",
	} {
		if got := condition(text); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// The example of GitHub's documentation, and its context.
func TestMatrix(t *testing.T) {
	for text, want := range map[string][]string{
		`{fruit: [apple, pear], animal: [cat, dog], include: [{color: green}, {color: pink, animal: cat}, {fruit: apple, shape: circle}, {fruit: banana}, {fruit: banana, animal: cat}]}`: {
			"j (apple, cat) {animal:cat color:pink fruit:apple shape:circle}", "j (apple, dog) {animal:dog color:green fruit:apple shape:circle}",
			"j (pear, cat) {animal:cat color:pink fruit:pear}", "j (pear, dog) {animal:dog color:green fruit:pear}",
			"j (banana) {fruit:banana}", "j (cat, banana) {animal:cat fruit:banana}",
		},
		`{go: [1.25, 2], os: [a, b], exclude: [{go: 2, os: b}]}`: {"j (1.25, a) {go:1.25 os:a}", "j (1.25, b) {go:1.25 os:b}", "j (2, a) {go:2 os:a}"},
		`{include: [{one: 1}, {one: 2}]}`:                        {"j (1) {one:1}", "j (2) {one:2}"},
	} {
		jobs, err := ParseJobs([]byte("jobs: {j: {runs-on: [self-hosted], strategy: {matrix: " + text + "}, steps: [{run: 'true'}]}}"))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, job := range jobs {
			values := shown(job.Matrix)
			got = append(got, job.Name+" {"+values[len("map["):len(values)-1]+"}")
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n%q\nwant\n%q", text, got, want)
		}
	}
	jobs, err := ParseJobs([]byte("jobs: {j: {name: 'on ${{ matrix.os }}', runs-on: ['${{matrix.os}}'], strategy: {matrix: {os: [a, b]}}, steps: [{run: 'true'}]}}"))
	if err != nil || len(jobs) != 2 || jobs[1].Name != "on b" || jobs[1].RunsOn[0] != "b" || jobs[0].RunsOn[0] != "a" || jobs[1].Key != "j" {
		t.Errorf("got %+v, %v, want 2 jobs, on a and on b", jobs, err)
	}
}

//go:build linux

package ghsim_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/runnerctl/runnerctl/internal/ghsim"
)

// Actions of the workspace (uses: ./FOLDER): composite ones with inputs, outputs and
// actions within, and those of node.
func TestLocalActions(t *testing.T) {
	s := start(t, ghsim.Options{})
	tools := t.TempDir()
	node := "#!/bin/bash\necho \"node runs $1 for $INPUT_WHO_ELSE with ${ACTIONS_RUNTIME_TOKEN:0:2}\" && echo said=$INPUT_WHO_ELSE >>\"$GITHUB_OUTPUT\"\n"
	if err := os.WriteFile(filepath.Join(tools, "node"), []byte(node), 0o755); err != nil {
		t.Fatal(err)
	}
	startJIT(t, mint(t, s, "repos/acme/api", "one", "linux").Encoded, "PATH="+tools+":"+os.Getenv("PATH"))
	result := wait(t, s, queue(t, s, `
jobs:
  build:
    runs-on: linux
    steps:
      - run: |
          mkdir -p actions/greet actions/inner actions/js
          cat >actions/greet/action.yml <<'END'
          name: greet
          inputs:
            who: {default: nobody}
            where: {default: here}
          outputs:
            text: {value: "@{{ steps.say.outputs.text }}!"}
          runs:
            using: composite
            steps:
              - id: say
                shell: bash
                env: {WHO: "@{{ inputs.who }}"}
                run: |
                  echo "text=hello $WHO @{{ inputs.where }}" >>"$GITHUB_OUTPUT"
                  [ "$GITHUB_ACTION_PATH" = "$GITHUB_WORKSPACE/actions/greet" ] && [ -z "${ACTIONS_RUNTIME_TOKEN:-}" ]
              - uses: ./actions/inner
                with: {word: "@{{ steps.say.outputs.text }}"}
              - if: inputs.who == 'somebody else'
                shell: sh
                run: echo never
              - shell: sh
                run: exit 3
                continue-on-error: true
              - if: always()
                shell: sh
                run: echo composite ends
          END
          cat >actions/inner/action.yaml <<'END'
          inputs: {word: {required: true}}
          runs: {using: composite, steps: [{run: 'echo "inner has @{{ inputs.word }}"', shell: bash}]}
          END
          printf 'inputs: {who else: {}}\nruns: {using: node20, main: main.js}\n' >actions/js/action.yml
          sed -i 's/@{{/$''{{/g' actions/*/action.y*ml
      - id: greet
        uses: ./actions/greet
        with: {who: 'the ${{ github.repository }}'}
      - id: js
        uses: ./actions/js
        with: {who else: you}
      - run: echo "outputs ${{ steps.greet.outputs.text }} ${{ steps.js.outputs.said }}"
`))
	for _, want := range []string{"inner has hello the acme/api here\n", "composite ends\n", "outputs hello the acme/api here! you\n", "actions/js/main.js for you with ey"} {
		if result.Conclusion != "success" || !strings.Contains(result.Log, want) {
			t.Errorf("%s, no %q in\n%s", result.Conclusion, want, result.Log)
		}
	}
	if strings.Contains(result.Log, "Z never\n") {
		t.Errorf("log:\n%s\nwant no %q", result.Log, "Z never\n")
	}
}

// An action that is not there, or is another repository's, fails the job and is named.
func TestActionsThatAreNotThere(t *testing.T) {
	s := start(t, ghsim.Options{})
	for uses, want := range map[string]string{
		"./nosuch":            "Can't find 'action.yml'",
		"actions/checkout@v4": "Unable to resolve action `actions/checkout@v4`",
	} {
		startJIT(t, mint(t, s, "repos/acme/api", strings.NewReplacer("/", "-", ".", "", "@", "-").Replace("for-"+uses), "linux").Encoded)
		result := wait(t, s, queue(t, s, "jobs: {build: {runs-on: linux, steps: [{uses: "+uses+"}]}}"))
		if result.Conclusion != "failure" || !strings.Contains(strings.Join(result.Failures, "\n"), want) {
			t.Errorf("%s: %s %v, want failure with %q", uses, result.Conclusion, result.Failures, want)
		}
	}
}

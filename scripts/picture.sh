#!/usr/bin/env bash
# Takes the README's picture: what a terminal shows of `up` and `ps`, run for real.
# Writes docs/picture-light.svg and docs/picture-dark.svg.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
PATH=$root/bin:$PATH
unset NO_COLOR "${!RUNNERCTL_@}" # one's own settings are not the reader's

scratch=$(mktemp -d)
trap 'cd /; rm -rf "$scratch"; runnerctl down --fleet picture' EXIT
go -C "$root/tools/terminal" build -o "$scratch/terminal" .
cd "$scratch"
echo 'name: picture' >runnerctl.yaml
runnerctl down # what an interrupted run left
./terminal -light "$root/docs/picture-light.svg" -dark "$root/docs/picture-dark.svg" 'runnerctl up --count 3' 'runnerctl ps'

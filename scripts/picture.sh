#!/usr/bin/env bash
# Makes the README's picture: a terminal with the output of a real `up` and `ps`.
# Writes docs/picture-light.svg and docs/picture-dark.svg.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
PATH=$root/bin:$PATH
unset NO_COLOR "${!RUNNERCTL_@}" # the picture must not depend on personal settings

scratch=$(mktemp -d)
trap 'cd /; rm -rf "$scratch"; runnerctl down --fleet picture' EXIT
go -C "$root/tools/terminal" build -o "$scratch/terminal" .
cd "$scratch"
echo 'name: picture' >runnerctl.yaml
runnerctl down # in case an earlier run was interrupted
./terminal -light "$root/docs/picture-light.svg" -dark "$root/docs/picture-dark.svg" 'runnerctl up --count 3' 'runnerctl ps'

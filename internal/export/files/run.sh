#!/bin/sh
# Runs one runner of the fleet {{.Name}} until it ends, and removes it: ./run.sh NAME [OPTION…]
# More options go to docker run: --detach runs it in the background.
set -eu
name=${1:?usage: ./run.sh NAME [OPTION...]}
shift
cd "$(dirname "$0")"
exec docker run --rm --name "$name" --hostname "$name" \
{{- range .Flags}}
	{{.}} \
{{- end}}
{{- range .Runner.Env}}
	--env {{shell .}} \
{{- end}}
	--env-file runner.env "$@" {{shell .Runner.Image}}

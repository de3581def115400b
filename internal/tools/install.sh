#!/bin/bash
# URL TOOL@VERSION…: installs the newest stable release of each version into /opt/hostedtoolcache, in
# the way of the setup actions (actions/setup-node, src/distributions/base-distribution.ts;
# actions/setup-go, src/installer.ts; actions/setup-python, src/install-python.ts). The URL has
# their manifests (actions/node-versions and the like).
set -euo pipefail
from=$1
shift
arch=x64
[[ $(uname -m) != aarch64 ]] || arch=arm64
# shellcheck source=/dev/null
. /etc/os-release

# Builds for all of Linux, or for this release of Ubuntu.
# shellcheck disable=SC2016 # jq expands it
newest='[.[] | select(.stable and (.version == $wanted or (.version | startswith($wanted + "."))))
	| .version as $version | .files[]
	| select(.platform == "linux" and .arch == $arch and (.platform_version == null or $id == "ubuntu" and .platform_version == $release))
	| [$version, .download_url]] | sort_by(.[0] | split(".") | map(tonumber)) | last // empty | @tsv'

for each; do
	tool=${each%@*} wanted=${each#*@}
	found=$(curl -fsSL --retry 3 "$from/$tool-versions/main/versions-manifest.json" |
		jq -r --arg wanted "$wanted" --arg arch "$arch" --arg id "$ID" --arg release "$VERSION_ID" "$newest")
	[[ -n $found ]] || {
		echo "$each: $from/$tool-versions has no stable release of it for $PRETTY_NAME on $arch" >&2
		exit 1
	}
	IFS=$'\t' read -r version url <<<"$found"
	name=$tool strip=0
	case "$tool" in
	node) strip=1 ;;
	python) name=Python ;;
	esac
	place=$AGENT_TOOLSDIRECTORY/$name/$version/$arch
	[[ ! -e $place.complete ]] || continue
	unpacked=$(mktemp -d)
	curl -fsSL --retry 3 "$url" | tar -xz --strip-components "$strip" -C "$unpacked"
	if [[ $tool == python ]]; then # it installs itself
		(cd "$unpacked" && bash ./setup.sh)
		rm -rf "$unpacked"
	else
		mkdir -p "${place%/*}"
		chmod 0755 "$unpacked"
		mv "$unpacked" "$place"
	fi
	touch "$place.complete"
	echo "$name $version"
done

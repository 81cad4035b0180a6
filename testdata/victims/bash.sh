# SPDX-License-Identifier: Apache-2.0
# A shell that is never asleep: it computes until the trap fires, so a dump meets it anywhere.
declare -A table
for ((i = 0; i < 2000; i++)); do table[key$i]=$((i * 7)); done
go=
trap 'go=1' USR1
exec 5>bash.txt 6<"$0"
echo before >&5
read -r first <&6
pid=$$
cd / || exit 2
rounds=0 sum=0
echo "READY $pid"
while [ -z "$go" ]; do
	for ((i = 0; i < 1000; i++)); do sum=$(((sum + i) % 1000003)); done
	((rounds++))
done

failures=0
check() {
	[ "$2" = "$3" ] && return
	echo "DIFFERS $1: $2, was $3"
	failures=1
}
total=0
for key in "${!table[@]}"; do ((total += table[$key])); done
check table "$total" $((7 * 1999 * 1000))
want=0
for ((i = 0; i < rounds % 1000003; i++)); do want=$(((want + 499500) % 1000003)); done
check sum "$sum" "$want"
read -r second <&6
check 'the script itself' "${second:0:10}" '# A shell '
check pid "$$" "$pid"
check cwd "$PWD" /
[ "$failures" = 0 ] && echo PASS
exit "$failures"

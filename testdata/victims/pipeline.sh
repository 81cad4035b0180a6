#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# bash with children: a coprocess, which is a copy of it, and a pipeline of other programs that it waits for.
trap 'go=1' USR1
coproc UPPER { while read -r line; do echo "${line^^}"; done; }
upper=$UPPER_PID
{ sleep 1000 | cat >pipeline.txt; } &
pipeline=$!
echo before >&"${UPPER[1]}"
read -r answer <&"${UPPER[0]}"
[ "$answer" = BEFORE ] || { echo "NOT READY $answer"; exit 2; }
echo "READY $$"
while [ -z "$go" ]; do
	sleep 0.05
done

status=0
differs() {
	echo "DIFFERS $*"
	status=1
}
echo after >&"${UPPER[1]}"
read -r -t 5 answer <&"${UPPER[0]}"
[ "$answer" = AFTER ] || differs "the coprocess says $answer"
[ "$(jobs -p | wc -l)" -eq 2 ] || differs "$(jobs -p | wc -l) jobs"
read -ra children <"/proc/$pipeline/task/$pipeline/children"
for child in "${children[@]}"; do
	[ "$(cat "/proc/$child/comm")" = sleep ] && kill "$child" && ended=1
done
[ "$ended" = 1 ] || differs "no sleep in the pipeline"
wait "$pipeline" || differs "the pipeline ended with status $?"
eval "exec ${UPPER[1]}>&-"
wait "$upper" || differs "the coprocess ended with status $?"
[ "$status" = 0 ] && echo PASS
exit "$status"

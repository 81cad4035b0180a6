# SPDX-License-Identifier: Apache-2.0
# bash completion for crpie

# _crpie_params completes FILE.o,key=value,... with what the plugin declares. Readline replaces only what stands behind the
# last character of COMP_WORDBREAKS, which has = and :.
_crpie_params() {
	local word=${COMP_LINE:0:COMP_POINT} spec breaks= kept= line lines
	word=${word##*[[:space:]]}
	spec=${word#--pie-plugin=}
	[[ $spec == *.o,* ]] || return 1
	[[ $COMP_WORDBREAKS == *=* ]] && breaks+='='
	[[ $COMP_WORDBREAKS == *:* ]] && breaks+=':'
	[ -n "$breaks" ] && kept=${word%"${word##*[$breaks]}"}
	mapfile -t lines < <("${COMP_WORDS[0]}" inspect --params "${spec%%,*}" 2>/dev/null | cut -f 1)
	for line in "${lines[@]}"; do
		line=${word%"${word##*,}"}$line
		[[ $line == "$word"* ]] && COMPREPLY+=("${line#"$kept"}")
	done
	compopt +o filenames -o nospace 2>/dev/null
	return 0
}

_crpie() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} flags=
	COMPREPLY=()
	# --flag=value is three words, where = is in COMP_WORDBREAKS.
	if [[ $cur == = ]]; then
		cur=
	elif [[ $prev == = ]]; then
		prev=${COMP_WORDS[COMP_CWORD - 2]}
	fi
	if [ "$COMP_CWORD" -eq 1 ]; then
		mapfile -t COMPREPLY < <(compgen -W 'check inspect restore graft try new sdk link swrk doctor explain version help' -- "$cur")
		return
	fi
	case ${COMP_WORDS[1]} in
	restore | graft | check) _crpie_params && return ;;
	esac
	case $prev in
	-D | --images-dir | -W | --work-dir | --source-root)
		mapfile -t COMPREPLY < <(compgen -d -- "$cur")
		return
		;;
	-f | --format)
		local formats='text json'
		[ "${COMP_WORDS[1]}" = check ] && formats+=' sarif github junit'
		mapfile -t COMPREPLY < <(compgen -W "$formats" -- "$cur")
		return
		;;
	-m | --machine)
		mapfile -t COMPREPLY < <(compgen -W 'amd64 arm64' -- "$cur")
		return
		;;
	--lang)
		mapfile -t COMPREPLY < <(compgen -W 'c c++ rust asm' -- "$cur")
		return
		;;
	--at)
		mapfile -t COMPREPLY < <(compgen -W 'entry main signal: function: output:' -- "$cur")
		return
		;;
	--on-error)
		mapfile -t COMPREPLY < <(compgen -W 'kill continue' -- "$cur")
		return
		;;
	--task)
		mapfile -t COMPREPLY < <(compgen -W 'root pid: comm:' -- "$cur")
		return
		;;
	--file-validation)
		mapfile -t COMPREPLY < <(compgen -W 'buildid filesize' -- "$cur")
		return
		;;
	--resident-hooks)
		mapfile -t COMPREPLY < <(compgen -W 'auto require' -- "$cur")
		return
		;;
	-J | --join-ns)
		mapfile -t COMPREPLY < <(compgen -W 'net: uts: ipc: time:' -- "$cur")
		return
		;;
	--empty-ns)
		mapfile -t COMPREPLY < <(compgen -W 'net' -- "$cur")
		return
		;;
	--lsm-profile)
		mapfile -t COMPREPLY < <(compgen -W 'apparmor: selinux:' -- "$cur")
		return
		;;
	--archive-limit)
		mapfile -t COMPREPLY < <(compgen -W 'size= entries= headers=' -- "$cur")
		return
		;;
	--stages)
		mapfile -t COMPREPLY < <(compgen -W 'task-created post-memory post-files post-threads
			pre-creds pre-sigreturn-thread pre-sigreturn pre-dump resumed' -- "$cur")
		return
		;;
	--leave)
		mapfile -t COMPREPLY < <(compgen -W 'running frozen stopped' -- "$cur")
		return
		;;
	--manage-cgroups)
		mapfile -t COMPREPLY < <(compgen -W 'ignore none props soft full strict' -- "$cur")
		return
		;;
	esac
	case ${COMP_WORDS[1]} in
	restore)
		flags='--images-dir --pie-plugin --allow-untrusted --resident-hooks --pie-timeout --pie-pause --diff --trace --report --progress-timeout --restore-detached --restore-sibling --new-pids --clones --leave-stopped --shell-job --file-locks --tcp-established
			--tcp-close --ext-unix-sk --freebind --inherit-fd --external --root --ext-mount-map --file-validation --skip-file-rwx-check --keep-vgetrandom --keep-wipeonfork --pidfile --work-dir --log-file --verbosity --manage-cgroups --page-readers --dry-run
			--log-pid --format --config --no-default-config --version --exec-cmd --leave-running --close --action-script --cgroup-root --lsm-profile --lsm-mount-context --veth-pair --join-ns --empty-ns --help'
		;;
	graft)
		flags='--images-dir --archive --archive-limit --output --pie-plugin --resident-hooks --task --root --copy --on-error --pie-timeout --log-file --verbosity
			--keep-vgetrandom --keep-wipeonfork --allow-seccomp --allow-skipped-stages --allow-untrusted --remove --help'
		;;
	check) flags='--format --source-root --machine --core --help' ;;
	inspect) flags='--images-dir --archive --archive-limit --format --base --core --disasm --params --help' ;;
	try) flags='--allow-untrusted --resident-hooks --at --pid --tree --rehearse --diff --trace --stages --leave --pie-timeout --pie-pause --progress-timeout --format --output --verbosity --help' ;;
	new) flags='--lang --help' ;;
	sdk) flags='--force --help' ;;
	doctor) flags='--format --clean --clones --images-dir --archive --archive-limit --help' ;;
	link) flags='--output --base --defsym --map --help' ;;
	esac
	if [[ ${COMP_WORDS[1]} == explain && $cur != -* ]]; then
		[[ $cur == [0-9]* ]] && cur=PIE$cur
		mapfile -t COMPREPLY < <(compgen -W "$("${COMP_WORDS[0]}" explain 2>/dev/null | cut -d ' ' -f 1)" -- "${cur^^}")
	elif [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$cur")
	else
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
	fi
}
complete -o filenames -F _crpie crpie

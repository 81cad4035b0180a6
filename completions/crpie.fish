# SPDX-License-Identifier: Apache-2.0
# An object, and behind it key=value,... of what the plugin declares.
function __crpie_plugin
	set -l word (string replace -r '^--[a-z-]+=' '' -- (commandline -ct))
	if not string match -q '*.o,*' -- $word
		__fish_complete_suffix .o
		return
	end
	set -l head (string replace -r '[^,]*$' '' -- $word)
	for line in (crpie inspect --params (string split -m 1 , -- $word)[1] 2>/dev/null)
		echo $head$line
	end
end

set -l commands check inspect restore graft try new sdk link swrk doctor explain version help

complete -c crpie -n "not __fish_seen_subcommand_from $commands" -f
complete -c crpie -n "not __fish_seen_subcommand_from $commands" -a check -d 'Tell whether objects can be PIE plugins'
complete -c crpie -n "not __fish_seen_subcommand_from $commands" -a inspect -d 'Show hooks, sections, symbols, relocations'
complete -c crpie -n "not __fish_seen_subcommand_from $commands" -a restore -d 'Restore a process from CRIU images'
complete -c crpie -n "not __fish_seen_subcommand_from $commands" -a link -d 'Place an object, write memory and map'
complete -c crpie -n "not __fish_seen_subcommand_from $commands" -a try -d 'Run plugins in a live process'
complete -c crpie -n "not __fish_seen_subcommand_from $commands" -a new -d 'Make a directory with a plugin that works'
complete -c crpie -n "not __fish_seen_subcommand_from $commands" -a sdk -d 'Write headers, Rust crate, plugin.mk and examples'
complete -c crpie -n "not __fish_seen_subcommand_from $commands" -a swrk -d 'Stand in front of criu for a container runtime'
complete -c crpie -n "not __fish_seen_subcommand_from $commands" -a doctor -d 'Check whether this machine can restore containers'
complete -c crpie -n "not __fish_seen_subcommand_from $commands" -a explain -d 'Tell what a rule means'
complete -c crpie -n "not __fish_seen_subcommand_from $commands" -a version -d 'Print version and plugin ABI'

complete -c crpie -n '__fish_seen_subcommand_from restore' -s D -l images-dir -x -a '(__fish_complete_directories)'
complete -c crpie -n '__fish_seen_subcommand_from restore' -l pie-plugin -x -a '(__crpie_plugin)' -d 'Object and parameters'
complete -c crpie -n '__fish_seen_subcommand_from restore' -l pie-timeout -x -d 'Longest time of one hook'
complete -c crpie -n '__fish_seen_subcommand_from restore' -l pie-pause -x -d 'Wait for gdb before hooks'
complete -c crpie -n '__fish_seen_subcommand_from restore' -l progress-timeout -x -d 'Longest time without progress'
complete -c crpie -n '__fish_seen_subcommand_from restore' -s d -l restore-detached -d 'Do not wait'
complete -c crpie -n '__fish_seen_subcommand_from restore' -s S -l restore-sibling -d 'Child of the parent, with -d'
complete -c crpie -n '__fish_seen_subcommand_from restore' -s s -l leave-stopped -d 'Leave it stopped'
complete -c crpie -n '__fish_seen_subcommand_from restore' -s j -l shell-job -d 'Stay in this session'
complete -c crpie -n '__fish_seen_subcommand_from restore' -s l -l file-locks -d 'Restore file locks (always done)'
complete -c crpie -n '__fish_seen_subcommand_from restore' -l tcp-established -d 'Restore TCP connections'
complete -c crpie -n '__fish_seen_subcommand_from restore' -l tcp-close -d 'Leave sockets of TCP connections closed'
complete -c crpie -n '__fish_seen_subcommand_from restore' -s x -l ext-unix-sk -d 'Connect unix sockets to peers that were not dumped'
complete -c crpie -n '__fish_seen_subcommand_from restore' -l freebind -d 'Restore IPv4 sockets whose address this host lacks'
complete -c crpie -n '__fish_seen_subcommand_from restore' -l inherit-fd -x -d 'fd[N]:RESOURCE, descriptor in place of a file'
complete -c crpie -n '__fish_seen_subcommand_from restore' -l external -x -d 'Resource that was dumped as external'
complete -c crpie -n '__fish_seen_subcommand_from restore' -l file-validation -x -a 'buildid filesize'
complete -c crpie -n '__fish_seen_subcommand_from restore' -l keep-vgetrandom -d 'Leave the vDSO getrandom state'
complete -c crpie -n '__fish_seen_subcommand_from restore' -l keep-wipeonfork -d 'Leave memory that is wiped in children'
complete -c crpie -n '__fish_seen_subcommand_from restore' -l skip-file-rwx-check -d 'Do not compare permissions of files'
complete -c crpie -n '__fish_seen_subcommand_from restore' -l pidfile -r -d 'Write the pid here'
complete -c crpie -n '__fish_seen_subcommand_from restore' -s W -l work-dir -x -a '(__fish_complete_directories)'
complete -c crpie -n '__fish_seen_subcommand_from restore' -s o -l log-file -r
complete -c crpie -n '__fish_seen_subcommand_from restore' -s v -l verbosity -d 'Log level'
complete -c crpie -n '__fish_seen_subcommand_from restore' -l manage-cgroups -x -a 'ignore none props soft full strict'
complete -c crpie -n '__fish_seen_subcommand_from restore' -l log-pid -d 'Plugins log to FILE.PID'
complete -c crpie -n '__fish_seen_subcommand_from restore' -s f -l format -x -a 'text json' -d 'How to say why it failed'
complete -c crpie -n '__fish_seen_subcommand_from restore' -l config -r -d 'Options'
complete -c crpie -n '__fish_seen_subcommand_from restore' -l no-default-config -d 'No options from the default files'
complete -c crpie -n '__fish_seen_subcommand_from restore' -s V -l version -d 'Print the version'
complete -c crpie -n '__fish_seen_subcommand_from restore' -l exec-cmd -d 'Run the command behind --'
complete -c crpie -n '__fish_seen_subcommand_from restore' -s R -l leave-running -d 'Take --leave-stopped back'
complete -c crpie -n '__fish_seen_subcommand_from restore' -l action-script -r -d 'Run at each action'
complete -c crpie -n '__fish_seen_subcommand_from restore' -s r -l root -xa '(__fish_complete_directories)' -d 'Root of a mount namespace'
complete -c crpie -n '__fish_seen_subcommand_from restore' -s M -l ext-mount-map -x -d 'What is mounted from the host'
complete -c crpie -n '__fish_seen_subcommand_from restore' -l cgroup-root -x -d 'Where cgroups are restored'
complete -c crpie -n '__fish_seen_subcommand_from restore' -l veth-pair -x -d 'Other end of a veth link'
complete -c crpie -n '__fish_seen_subcommand_from restore' -s J -l join-ns -x -a 'net: uts: ipc: time:' -d 'Existing namespace'
complete -c crpie -n '__fish_seen_subcommand_from restore' -l empty-ns -x -a 'net' -d 'Leave a namespace empty'
complete -c crpie -n '__fish_seen_subcommand_from restore' -l lsm-profile -x -a 'apparmor: selinux:' -d 'Security label'
complete -c crpie -n '__fish_seen_subcommand_from restore' -l close -x -d 'Close a descriptor'
complete -c crpie -n '__fish_seen_subcommand_from restore' -l page-readers -x -d 'Extra threads for memory'
complete -c crpie -n '__fish_seen_subcommand_from restore' -l dry-run -d 'Print the plan'
complete -c crpie -n '__fish_seen_subcommand_from check' -s f -l format -x -a 'text json sarif github junit'
complete -c crpie -n '__fish_seen_subcommand_from check' -s m -l machine -x -a 'amd64 arm64'
complete -c crpie -n '__fish_seen_subcommand_from check inspect' -l core -d 'Hooks are not needed'
complete -c crpie -n '__fish_seen_subcommand_from inspect' -s f -l format -x -a 'text json'
complete -c crpie -n '__fish_seen_subcommand_from inspect link' -l base -x -d Address
complete -c crpie -n '__fish_seen_subcommand_from check' -a '(__crpie_plugin)'
complete -c crpie -n '__fish_seen_subcommand_from inspect' -l params -d 'List parameters only'
complete -c crpie -n '__fish_seen_subcommand_from inspect' -l disasm -d 'List the code'
complete -c crpie -n '__fish_seen_subcommand_from explain' -f -a '(crpie explain 2>/dev/null | string replace " " \t)'
complete -c crpie -n '__fish_seen_subcommand_from link' -s o -l output -r
complete -c crpie -n '__fish_seen_subcommand_from link' -l defsym -x -d NAME=ADDR
complete -c crpie -n '__fish_seen_subcommand_from link' -l map -r
complete -c crpie -n "not __fish_seen_subcommand_from $commands" -a graft -d 'Write images that any criu restores with plugins inside'
complete -c crpie -n '__fish_seen_subcommand_from graft inspect' -s D -l images-dir -x -a '(__fish_complete_directories)'
complete -c crpie -n '__fish_seen_subcommand_from graft inspect' -l archive -r -d 'Container checkpoint'
complete -c crpie -n '__fish_seen_subcommand_from graft inspect' -l archive-limit -x -a 'size= entries= headers=' -d 'What the archive may cost'
complete -c crpie -n '__fish_seen_subcommand_from graft' -s o -l output -r -d 'Directory or archive to write'
complete -c crpie -n '__fish_seen_subcommand_from graft' -l pie-plugin -x -a '(__crpie_plugin)' -d 'Object and parameters'
complete -c crpie -n '__fish_seen_subcommand_from graft' -l task -x -a 'root pid: comm:' -d 'Only this task'
complete -c crpie -n '__fish_seen_subcommand_from graft' -l root -x -a '(__fish_complete_directories)' -d 'Files of the tasks'
complete -c crpie -n '__fish_seen_subcommand_from graft' -l copy -d 'Stand alone'
complete -c crpie -n '__fish_seen_subcommand_from graft' -l on-error -x -a 'kill continue' -d 'When a hook fails'
complete -c crpie -n '__fish_seen_subcommand_from graft' -l pie-timeout -x -d 'Longest time of one hook'
complete -c crpie -n '__fish_seen_subcommand_from graft' -l log-file -r -d 'The task logs there'
complete -c crpie -n '__fish_seen_subcommand_from graft' -s v -l verbosity -d 'Log level'
complete -c crpie -n '__fish_seen_subcommand_from graft' -l keep-vgetrandom -d 'Leave the vDSO getrandom state'
complete -c crpie -n '__fish_seen_subcommand_from graft' -l keep-wipeonfork -d 'Leave memory that is wiped in children'
complete -c crpie -n '__fish_seen_subcommand_from graft' -l allow-seccomp -d 'Graft although filters deny calls'
complete -c crpie -n '__fish_seen_subcommand_from graft' -l allow-skipped-stages -d 'Leave out early hooks'
complete -c crpie -n '__fish_seen_subcommand_from graft' -l remove -d 'Restore the original images'
complete -c crpie -n '__fish_seen_subcommand_from doctor' -s f -l format -x -a 'text json' -d 'Output'
complete -c crpie -n '__fish_seen_subcommand_from doctor' -l clean -d 'Remove leftovers'
complete -c crpie -n '__fish_seen_subcommand_from try' -l at -x -a 'entry main signal: function: output:' -d 'When to stop the program'
complete -c crpie -n '__fish_seen_subcommand_from try' -s p -l pid -x -a '(__fish_complete_pids)' -d 'Process that runs'
complete -c crpie -n '__fish_seen_subcommand_from try' -l tree -d 'And its descendants'
complete -c crpie -n '__fish_seen_subcommand_from try' -l rehearse -d 'Run the hooks in a copy'
complete -c crpie -n '__fish_seen_subcommand_from try' -l diff -d 'Report what hooks change'
complete -c crpie -n '__fish_seen_subcommand_from try' -l trace -d 'Report system calls of hooks'
complete -c crpie -n '__fish_seen_subcommand_from try' -l stages -x -d 'Hooks of these stages'
complete -c crpie -n '__fish_seen_subcommand_from try' -l pie-timeout -x -d 'Longest time of one hook'
complete -c crpie -n '__fish_seen_subcommand_from try' -l pie-pause -x -d 'Wait for gdb before hooks'
complete -c crpie -n '__fish_seen_subcommand_from try' -l progress-timeout -x -d 'Longest time to stop'
complete -c crpie -n '__fish_seen_subcommand_from try' -s f -l format -x -a 'text json' -d 'Report'
complete -c crpie -n '__fish_seen_subcommand_from try' -s o -l output -r -d 'Report'
complete -c crpie -n '__fish_seen_subcommand_from try' -s v -l verbosity -d 'Log level'
complete -c crpie -n '__fish_seen_subcommand_from new' -l lang -x -a 'c c++ rust asm' -d 'Language'
complete -c crpie -n '__fish_seen_subcommand_from sdk' -l force -d 'Replace files of another version'

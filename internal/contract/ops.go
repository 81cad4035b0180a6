package contract

import "strings"

// Ops are the operations of restore programs, by number. restorer/core/src/program.c carries them out.
func Ops() []Op {
	return []Op{
		{C: "SYSCALL", Go: "Syscall", About: "Makes system call nr with arg[0..5]."},

		{C: "PIPE", Go: "Pipe", Print: "pipe", About: "Makes a pipe, pipe2(2), whose ends become the two descriptors.",
			Args: []Arg{{"flags", Value, "of pipe2(2)"}, {"read", Value, "descriptor"}, {"write", Value, "descriptor"}}},
		{C: "SOCKETPAIR", Go: "Socketpair", Print: "socketpair", About: "Makes a pair of unix sockets, socketpair(2), which become the two descriptors.",
			Args: []Arg{{"type", Value, "with its flags"}, {"first", Value, "descriptor"}, {"second", Value, "descriptor"}}},
		{C: "OPEN_UNLINKED", Go: "OpenUnlinked", Print: "open without a name",
			About: "Opens a file that has no name: makes it, or links it from another path, as path, which must be free; opens that; removes the path. " +
				"Missing directories come and go with the name.",
			Args: []Arg{
				{"path", Hidden, "string"},
				{"link", Hidden, "string: the file's other name, or what a symbolic link leads to; 0: make the file"},
				{"flags", Value, "of openat(2)"},
				{"mode", Value, "of a file that is made: st_mode, and in the upper half the number of a device, mknod(2)"},
				{"fd", Value, "descriptor"},
				{"dirs", Hidden, "addresses of the directories' paths, the outermost first, ended by 0"},
			}},
		{C: "OPEN_PTY", Go: "OpenPty", Print: "open pseudo-terminal", About: "Opens a new pseudo-terminal, whose number must be the wanted one, pts(4).",
			Args: []Arg{{"ptmx", Hidden, "string"}, {"flags", Value, "of openat(2)"}, {"number", Value, ""}, {"fd", Value, "descriptor"}}},
		{C: "INSERT_INPUT", Go: "InsertInput", Print: "type", About: "Puts bytes into the input queue of a terminal, TIOCSTI of ioctl_tty(2).",
			Args: []Arg{{"fd", Value, "descriptor"}, {"bytes", Value, "address"}, {"len", Value, "bytes"}}},
		{C: "OPEN_EXITED_PIDFDS", Go: "OpenExitedPidfds", Print: "pidfds of a process that is gone",
			About: "Opens pidfds of a process that has exited: of a child that exists for that.",
			Args:  []Arg{{"nr", Value, ""}, {"pidfds", Hidden, "struct crpie_pidfd[nr]"}}},
		{C: "OPEN_EXITED_PROC", Go: "OpenExitedProc", Print: "process that has ended",
			About: "Opens files below /proc/PID of a process that has exited, and enters a directory there: of a child that exists for that.",
			Args: []Arg{
				{"pid", Value, ""}, {"nr", Value, ""}, {"files", Hidden, "struct crpie_file[nr]"}, {"cwd", Hidden, "string, or 0"},
			}},
		{C: "DRAIN_EVENTS", Go: "DrainEvents", Print: "forget events",
			About: "Reads the events that the restore itself has caused, inotify(7), fanotify(7).",
			Args:  []Arg{{"fd", Value, "descriptor"}, {"fanotify", Hidden, "events hold descriptors, which are closed"}}},

		{C: "READ_PAGES", Go: "ReadPages", Print: "read memory", About: "Fills memory from pages files.",
			Args: []Arg{{"runs", Hidden, "struct crpie_run[nr]"}, {"nr", Value, ""}, {"readers", Hidden, "threads that help"}}},
		{C: "UPDATE_PAGES", Go: "UpdatePages", Print: "update memory",
			About: "Fills memory that the task shares with its parent, copy on write, and leaves alone what is equal.",
			Args:  []Arg{{"runs", Hidden, "struct crpie_run[nr]"}, {"nr", Value, ""}}},
		{C: "COPY_MEMORY", Go: "CopyMemory", Print: "copy", About: "Copies memory.",
			Args: []Arg{{"to", Value, "address"}, {"from", Value, "address"}, {"len", Value, "bytes"}}},
		{C: "SETUP_AIO", Go: "SetupAio", Print: "make AIO context", About: "Makes an AIO context, io_setup(2), whose ring takes the place of the dumped one.",
			Args: []Arg{
				{"ring", Value, "address of the dumped ring"}, {"len", Value, "of the ring, bytes"}, {"nr_events", Value, "of io_setup(2)"},
				{"null", Hidden, "descriptor of /dev/null"},
			}},
		{C: "CREATE_TIMER", Go: "CreateTimer", Print: "timer_create", About: "Makes a posix timer, timer_create(2), whose id must be the wanted one.",
			Args: []Arg{{"clock", Value, ""}, {"sigevent", Value, "struct sigevent"}, {"id", Value, ""}}},
		{C: "EXPIRE_TIMER", Go: "ExpireTimer", Print: "expire timer", About: "Lets a posix timer expire at once and go on from there.",
			Args: []Arg{{"id", Value, ""}, {"spec", Hidden, "struct itimerspec: interval, what is left"}, {"clock", Hidden, ""}}},

		{C: "CLONE_TASK", Go: "CloneTask", Print: "clone task", About: "Creates a task of the plan, clone3(2), with its pid.",
			Args: []Arg{{"task", Value, "index"}, {"flags", Hidden, "of clone3(2)"}}},
		{C: "CLONE_THREAD", Go: "CloneThread", Print: "clone thread", About: "Creates a thread of this task, clone3(2), with its tid.",
			Args: []Arg{{"thread", Value, "index"}}},
		{C: "RUN_TASK", Go: "RunTask", Print: "become task", About: "Goes on with the program of a task, which this process becomes.", Ends: true,
			Args: []Arg{{"task", Value, "index"}}},
		{C: "SET_PDEATHSIG", Go: "SetPdeathsig", Print: "die with parent",
			About: "Has the kernel kill this task when its parent ends, PR_SET_PDEATHSIG of prctl(2), and ends it if that has happened.",
			Args:  []Arg{{"parent", Value, "pid"}}},

		{C: "WAIT_TRACED", Go: "WaitTraced", Print: "wait to be traced", About: "Waits until the controller traces this thread.", Waits: true},
		{C: "WAIT_GATE", Go: "WaitGate", Print: "wait for gate", About: "Waits until the controller has opened a gate.", Waits: true,
			Args: []Arg{{"gate", Value, "CRPIE_GATE_*"}}},
		{C: "ARRIVE_BARRIER", Go: "ArriveBarrier", Print: "arrive at barrier", About: "Counts this thread at a barrier of its task.",
			Args: []Arg{{"barrier", Value, "CRPIE_BARRIER_*"}}},
		{C: "WAIT_BARRIER", Go: "WaitBarrier", Print: "await barrier", About: "Waits until threads have arrived at a barrier.", Waits: true,
			Args: []Arg{{"barrier", Value, "CRPIE_BARRIER_*"}, {"threads", Value, "how many"}}},
		{C: "SET_MARK", Go: "SetMark", Print: "mark", About: "Sets the mark that this thread has reached. Marks only grow.",
			Args: []Arg{{"mark", Value, "CRPIE_MARK_*"}}},
		{C: "WAIT_MARK", Go: "WaitMark", Print: "follow", About: "Waits until another thread has reached a mark.", Waits: true,
			Args: []Arg{{"status", Value, "index of the thread's status"}, {"mark", Value, "CRPIE_MARK_*"}}},
		{C: "NOTIFY", Go: "Notify", Print: "report", About: "Rings the controller's bell.",
			Args: []Arg{{"ready", Hidden, "1: counts this task as ready before"}}},
		{C: "UNSHARE_STATUS", Go: "UnshareStatus", Print: "leave the shared memory",
			About: "Replaces the shared memory: what this task reports is memory of its own from here on."},
		{C: "RUN_HOOKS", Go: "RunHooks", Print: "hooks", About: "Runs the plugins' hooks of a stage.", Calls: true,
			Args: []Arg{{"stage", Stage, "CR_PLUGIN_HOOK__PIE_RST_*"}}},
		{C: "PARK", Go: "Park", Print: "park", About: "Waits for the controller, which gives the thread its registers. The program is done.", Ends: true},
		{C: "EXIT_GROUP", Go: "ExitGroup", Print: "exit_group", About: "Ends the task, exit_group(2).", Ends: true,
			Args: []Arg{{"status", Value, ""}}},
	}
}

// opCodes numbers the operations.
func opCodes(ops []Op) Enum {
	e := Enum{Go: "OpCode", GoBase: "uint32", About: "Operations of a restore program; struct crpie_op names their arguments."}
	for i, op := range ops {
		e.Members = append(e.Members, Enumerator{"CRPIE_OP_" + op.C, "Op" + op.Go, i, op.About})
	}
	return e
}

// member is the name of the operation's arguments in struct crpie_op.
func (o *Op) member() string { return strings.ToLower(o.C) }

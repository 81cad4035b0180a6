package contract

import "strings"

// Ops are the operations of restore programs, by number. restorer/core/src/program.c carries them out.
func Ops() []Op {
	return []Op{
		{C: "SYSCALL", Go: "Syscall", About: "Makes system call nr with arg[0..5]."},

		{C: "PIPE", Go: "Pipe", About: "Makes a pipe, pipe2(2), whose ends become the two descriptors.",
			Args: []Arg{{"flags", PipeFlags, "of pipe2(2)"}, {"read", FD, "descriptor"},
				{"write", FD, "descriptor"}}},
		{C: "SOCKETPAIR", Go: "Socketpair",
			About: "Makes a pair of unix sockets, socketpair(2), which become the two descriptors.",
			Args: []Arg{{"type", SockType, "with its flags"}, {"first", FD, "descriptor"},
				{"second", FD, "descriptor"}}},
		{C: "OPEN_UNLINKED", Go: "OpenUnlinked",
			About: "Opens a file that has no name: makes it, or links it from another path, as path, which must be free; opens that; removes the path. " +
				"Missing directories come and go with the name.",
			Args: []Arg{
				{"path", String, "string"},
				{"link", String, "string: the file's other name, or what a symbolic link leads to; 0: make the file"},
				{"flags", OpenFlags, "of openat(2)"},
				{"mode", Mode,
					"of a file that is made: st_mode, and in the upper half the number of a device, mknod(2)"},
				{"fd", FD, "descriptor"},
				{"dirs", Hidden, "addresses of the directories' paths, the outermost first, ended by 0"},
			}},
		{C: "OPEN_PTY", Go: "OpenPty",
			About: "Opens a new pseudo-terminal, whose number must be the wanted one, pts(4).",
			Args: []Arg{{"ptmx", String, "string"}, {"flags", OpenFlags, "of openat(2)"},
				{"number", Int, ""},
				{"fd", FD, "descriptor"}}},
		{C: "INSERT_INPUT", Go: "InsertInput",
			About: "Puts bytes into the input queue of a terminal, TIOCSTI of ioctl_tty(2).",
			Args:  []Arg{{"fd", FD, "descriptor"}, {"bytes", Bytes, "address"}, {"len", Int, "bytes"}}},
		{C: "OPEN_EXITED_PIDFDS", Go: "OpenExitedPidfds",
			About: "Opens pidfds of a process that has exited: of a child that exists for that.",
			Args:  []Arg{{"nr", Int, ""}, {"pidfds", Hidden, "struct crpie_pidfd[nr]"}}},
		{C: "OPEN_EXITED_PROC", Go: "OpenExitedProc",
			About: "Opens files below /proc/PID of a process that has exited, and enters a directory there: of a child that exists for that.",
			Args: []Arg{
				{"pid", Int, ""}, {"nr", Int, ""}, {"files", Hidden, "struct crpie_file[nr]"},
				{"cwd", String, "string, or 0"},
			}},
		{C: "DRAIN_EVENTS", Go: "DrainEvents",
			About: "Reads the events that the restore itself has caused, inotify(7), fanotify(7).",
			Args: []Arg{{"fd", FD, "descriptor"},
				{"fanotify", Int, "events hold descriptors, which are closed"}}},

		{C: "READ_PAGES", Go: "ReadPages", About: "Fills memory from pages files.",
			Args: []Arg{{"runs", Hidden, "struct crpie_run[nr]"}, {"nr", Int, ""},
				{"readers", Int, "threads that help"}}},
		{C: "UPDATE_PAGES", Go: "UpdatePages",
			About: "Fills memory that the task shares with its parent, copy on write, and leaves alone what is equal.",
			Args:  []Arg{{"runs", Hidden, "struct crpie_run[nr]"}, {"nr", Int, ""}}},
		{C: "COPY_MEMORY", Go: "CopyMemory", About: "Copies memory.",
			Args: []Arg{{"to", Hex, "address"}, {"from", Hex, "address"}, {"len", Int, "bytes"}}},
		{C: "SETUP_AIO", Go: "SetupAio",
			About: "Makes an AIO context, io_setup(2), whose ring takes the place of the dumped one.",
			Args: []Arg{
				{"ring", Hex, "address of the dumped ring"}, {"len", Int, "of the ring, bytes"},
				{"nr_events", Int, "of io_setup(2)"},
				{"null", FD, "descriptor of /dev/null"},
			}},
		{C: "CREATE_TIMER", Go: "CreateTimer",
			About: "Makes a posix timer, timer_create(2), whose id must be the wanted one.",
			Args:  []Arg{{"clock", Clock, ""}, {"sigevent", Sigevent, "struct sigevent"}, {"id", Int, ""}}},
		{C: "EXPIRE_TIMER", Go: "ExpireTimer", About: "Lets a posix timer expire at once and go on from there.",
			Args: []Arg{{"id", Int, ""}, {"spec", Itimerspec, "struct itimerspec: interval, what is left"},
				{"clock", Clock, ""}}},

		{C: "START_TIMER", Go: "StartTimer",
			About: "Starts a timer if a hook has changed it, and skips the operations that start it as it was dumped.",
			Args:  []Arg{{"timer", Int, "index"}, {"skip", Int, "operations"}}},

		{C: "CLONE_TASK", Go: "CloneTask", About: "Creates a task of the plan, clone3(2), with its pid.",
			Args: []Arg{{"task", Int, "index"}, {"flags", CloneFlags, "of clone3(2)"}}},
		{C: "CLONE_THREAD", Go: "CloneThread", About: "Creates a thread of this task, clone3(2), with its tid.",
			Args: []Arg{{"thread", Int, "index"}}},
		{C: "RUN_TASK", Go: "RunTask", About: "Goes on with the program of a task, which this process becomes.",
			Ends: true,
			Args: []Arg{{"task", Int, "index"}}},
		{C: "SET_PDEATHSIG", Go: "SetPdeathsig",
			About: "Has the kernel kill this task when its parent ends, PR_SET_PDEATHSIG of prctl(2), and ends it if that has happened.",
			Args:  []Arg{{"parent", Int, "pid"}}},

		{C: "WAIT_TRACED", Go: "WaitTraced", About: "Waits until the controller traces this thread.",
			Waits: true},
		{C: "WAIT_GATE", Go: "WaitGate", About: "Waits until the controller has opened a gate.", Waits: true,
			Args: []Arg{{"gate", Gate, "CRPIE_GATE_*"}}},
		{C: "ARRIVE_BARRIER", Go: "ArriveBarrier", About: "Counts this thread at a barrier of its task.",
			Args: []Arg{{"barrier", Barrier, "CRPIE_BARRIER_*"}}},
		{C: "WAIT_BARRIER", Go: "WaitBarrier", About: "Waits until threads have arrived at a barrier.",
			Waits: true,
			Args:  []Arg{{"barrier", Barrier, "CRPIE_BARRIER_*"}, {"threads", Int, "how many"}}},
		{C: "SET_MARK", Go: "SetMark", About: "Sets the mark that this thread has reached. Marks only grow.",
			Args: []Arg{{"mark", Mark, "CRPIE_MARK_*"}}},
		{C: "WAIT_MARK", Go: "WaitMark", About: "Waits until another thread has reached a mark.", Waits: true,
			Args: []Arg{{"status", Int, "index of the thread's status"}, {"mark", Mark, "CRPIE_MARK_*"}}},
		{C: "NOTIFY", Go: "Notify", About: "Rings the controller's bell.",
			Args: []Arg{{"ready", Int, "1: counts this task as ready before"}}},
		{C: "UNSHARE_STATUS", Go: "UnshareStatus",
			About: "Replaces the shared memory: what this task reports is memory of its own from here on."},
		{C: "RUN_HOOKS", Go: "RunHooks", About: "Runs the plugins' hooks of a stage.", Calls: true,
			Args: []Arg{{"stage", Stage, "CR_PLUGIN_HOOK__PIE_RST_*"}}},
		{C: "PARK", Go: "Park",
			About: "Waits for the controller, which gives the thread its registers. The program is done.",
			Ends:  true},
		{C: "EXIT_GROUP", Go: "ExitGroup", About: "Ends the task, exit_group(2).", Ends: true,
			Args: []Arg{{"status", Int, ""}}},
	}
}

// opCodes numbers the operations.
func opCodes(ops []Op) Enum {
	e := Enum{Go: "OpCode", GoBase: "uint32",
		About: "Operations of a restore program; struct crpie_op names their arguments."}
	for i, op := range ops {
		e.Members = append(e.Members, Enumerator{"CRPIE_OP_" + op.C, "Op" + op.Go, i, op.About})
	}
	return e
}

// member is the name of the operation's arguments in struct crpie_op.
func (o *Op) member() string { return strings.ToLower(o.C) }

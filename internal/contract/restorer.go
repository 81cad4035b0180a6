package contract

// Numbers that bound arrays of the structs below.
const (
	maxPlugins = 1024
	everyCall  = 0xffffffff
	stackGuard = 1 << 20
	stack      = 124 << 10
	pageSize   = 4096
)

// Restorer is the contract between crpie restore and its core: restorer/core/src/contract.h.
func Restorer() *Group {
	return &Group{
		Name: "crpie restore", Prefix: "crpie_",
		Structs: restorerStructs(), Enums: restorerEnums(), Numbers: restorerNumbers(),
	}
}

// restorerNumbers lists the bounds, in the order of the table in docs/operations.md.
func restorerNumbers() []Number {
	return []Number{
		{C: "CRPIE_PAGE", Go: "PageSize", Value: pageSize, About: "bytes"},
		{C: "CRPIE_MAX_PLUGINS", Go: "MaxPlugins", Value: maxPlugins, About: "in one blob"},
		{C: "CRPIE_EVERY_CALL", Go: "EveryCall", Value: everyCall,
			About: "as plan.pause_hook: threads stop before and after every call into a plugin"},
		{C: "CRPIE_STACK_GUARD", Go: "StackGuard", Value: stackGuard, Text: "(1 << 20)",
			About: "bytes without access below each stack: as many as Linux keeps below a stack that grows (stack_guard_gap, " +
				"kernel-parameters.rst). The code of plugins need not probe its stack, and touches a frame anywhere first: a guard " +
				"smaller than the stack would let frames that fit into the one step over the other, into the next thread's stack."},
		{C: "CRPIE_STACK_SLOT", Go: "StackSlot", Value: stackGuard + stack, Text: "(CRPIE_STACK_GUARD + (124 << 10))",
			About: "distance of two stacks, bytes"},
		{C: "CRPIE_MAX_READERS", Go: "MaxReaders", Value: 7, About: "threads that help a task to read its pages"},
		{C: "CRPIE_NR_BARRIERS", Go: "NrBarriers", Value: 64, About: "of a task"},
		{C: "CRPIE_STUB_FAILED", Go: "StubFailed", Value: 64, Asm: true,
			About: "exit status of a stub whose first call failed; the next one's is one higher"},
	}
}

// restorerEnums begins with the operations, which docs/operations.md lists apart from the rest.
func restorerEnums() []Enum {
	return []Enum{
		opCodes(Ops()),
		{
			Go: "OpFlags", GoBase: "uint32", About: "Flags of an operation.",
			Members: []Enumerator{
				{"CRPIE_OPF_MAY_FAIL", "OpMayFail", 1 << 0, "an error is not a failure"},
				{"CRPIE_OPF_WANT", "OpWant", 1 << 1, "the result must be op.want"},
				{"CRPIE_OPF_FD", "OpFD", 1 << 2, "the result is a descriptor: move it to number op.want"},
				{"CRPIE_OPF_CLOEXEC", "OpCloexec", 1 << 3, "with OPF_FD: set FD_CLOEXEC"},
			},
		},
		{
			About: "States of a thread.",
			Members: []Enumerator{
				{"CRPIE_STATE_NEW", "StateNew", 0, ""},
				{"CRPIE_STATE_RUNNING", "StateRunning", 1, ""},
				{"CRPIE_STATE_FAILED", "StateFailed", 2, "op, result, and while a hook ran: hook, plugin, fn"},
				{"CRPIE_STATE_PARKED", "StateParked", 3, ""},
				{"CRPIE_STATE_LEFT", "StateLeft", 4,
					"in shared memory, of a task's leader: the task has statuses of its own"},
			},
		},
		{
			Kind: Gate, About: "Gates, which the controller opens one after the other.",
			Members: []Enumerator{
				{"CRPIE_GATE_CREDS", "GateCreds", 1,
					"every thread is traced: seccomp filters may be installed; every process group exists"},
			},
		},
		{
			Kind: Barrier, About: "Barriers of a task.",
			Members: []Enumerator{
				{"CRPIE_BARRIER_SETUP", "BarrierSetup", 0, "threads that have set themselves up; the leader waits"},
				{"CRPIE_BARRIER_HOOKS", "BarrierHooks", 1, "threads that have run their last hooks; the leader waits"},
				{"CRPIE_BARRIER_IDS", "BarrierIDs", 2, "threads that have changed their ids; all wait for all"},
			},
		},
		{
			Kind:  Mark,
			About: "Marks that the leader of a task reaches one after the other; other tasks wait for them.",
			Members: []Enumerator{
				{"CRPIE_MARK_BORN", "MarkBorn", 1, "it exists"},
				{"CRPIE_MARK_GROUP", "MarkGroup", 2, "it leads or is in its process group"},
				{"CRPIE_MARK_HELPERS", "MarkHelpers", 3, "its helpers have ended"},
				{"CRPIE_MARK_LATE", "MarkLate", 4, "it has what others take from it"},
				{"CRPIE_MARK_LEASES", "MarkLeases", 5, "it has its leases"},
				{"CRPIE_MARK_OWN_FILES", "MarkOwnFiles", 6,
					"what it does with descriptors of its own is done; the owner of the shared table may go on"},
				{"CRPIE_MARK_FILES", "MarkFiles", 7, "the descriptors are the application's"},
			},
		},
	}
}

// restorerStructs lists a struct behind those that it contains by value, as C requires.
func restorerStructs() []Struct {
	plugin := Struct{
		C: "crpie_table_plugin", Go: "TablePlugin", Use: Written,
		Members: []Member{
			{"name", u64, "address of a NUL-terminated string"},
			{"params", u64, "address of struct crpie_param[nr_params]"},
			{"nr_params", u64, ""},
			{"init", u64, "address of a function, or 0"},
			{"exit", u64, "address of a function, or 0"},
		},
	}
	hook := Struct{
		C: "crpie_table_hook", Go: "TableHook", Use: Written,
		Members: []Member{
			{"hook", u32, "CR_PLUGIN_HOOK__PIE_RST_*"},
			{"priority", i32, ""},
			{"plugin", u32, "index into the table's plugins"},
			{"reserved", u32, ""},
			{"fn", u64, ""},
		},
	}
	table := Struct{
		C: "crpie_table", Go: "Table", Use: Written,
		About: "The hook table, in the blob's read-only segment.",
		Members: []Member{
			{"size", u32, "sizeof(struct crpie_table)"},
			{"abi", u32, "CRPIE_ABI_VERSION"},
			{"plugins", u64, "struct crpie_table_plugin[nr_plugins], in command-line order"},
			{"nr_plugins", u64, ""},
			{"hooks", u64, "struct crpie_table_hook[nr_hooks], by hook, priority, plugin, place in the object"},
			{"nr_hooks", u64, ""},
			{"reserved", u64, ""},
		},
	}
	op := Struct{
		C: "crpie_op", Go: "OpRecord", Use: Written,
		About: "One operation of a restore program.",
		Members: []Member{
			{"code", u32, "CRPIE_OP_*"},
			{"flags", u32, "CRPIE_OPF_*"},
			{"nr", u64, "of the system call"},
			{"arg", Type{C: "uint64_t", Size: 8, Align: 8, Go: "uint64", Len: MaxArgs, Union: true}, ""},
			{"want", i64, "with OPF_WANT the only good result, with OPF_FD a descriptor's number"},
		},
	}
	run := Struct{
		C: "crpie_run", Go: "Run", Use: Written,
		About: "len bytes at offset off of descriptor fd belong at addr; all three are multiples of the page size.",
		Members: []Member{
			{"addr", u64, ""}, {"len", u64, ""}, {"off", u64, ""}, {"fd", i64, ""},
		},
	}
	pidfd := Struct{
		C: "crpie_pidfd", Go: "Pidfd", Use: Written,
		About: "A pidfd to open, of CRPIE_OP_OPEN_EXITED_PIDFDS.",
		Members: []Member{
			{"fd", u32, "its number"}, {"flags", u32, "of pidfd_open(2)"},
		},
	}
	file := Struct{
		C: "crpie_file", Go: "File", Use: Written,
		About: "A file to open, of CRPIE_OP_OPEN_EXITED_PROC.",
		Members: []Member{
			{"path", u64, ""}, {"flags", u64, "of openat(2)"}, {"fd", u64, "its number"},
		},
	}
	thread := Struct{
		C: "crpie_thread", Go: "Thread", Use: Written | Read,
		Members: []Member{
			{"tid", i32, ""},
			{"status", u32, "index into crpie_shared.status"},
			{"ops", u64, "struct crpie_op[nr_ops]"},
			{"nr_ops", u64, ""},
			{"stack", u64, "lowest byte"},
			{"stack_size", u64, "bytes"},
		},
	}
	task := Struct{
		C: "crpie_task", Go: "Task", Use: Written | Read,
		Members: []Member{
			{"pid", i32, ""},
			{"nr_threads", u32, ""},
			{"threads", u64, "struct crpie_thread[nr_threads]; 0 is the leader"},
			{"comm", u64, ""},
			{"vmas", u64, "struct crpie_vma[nr_vmas], and behind it uint64_t[nr_vmas]: crpie_ctx.vma_madv"},
			{"nr_vmas", u64, ""},
			{"mm", u64, "struct crpie_mm"},
			{"reader_stack", u64, "of the first page reader; CRPIE_STACK_SLOT apart"},
			{"reader_stack_size", u64, ""},
			{"runs", u64, "uint8_t[] by plugin: 1 if it runs in this task"},
			{"table", u64, "struct crpie_table: that of the plan, or one with the task's resident hooks"},
			{"regs", u64, "struct crpie_regs[nr_threads], which hooks write to, or 0"},
			{"timers", u64, "struct crpie_timer[nr_timers], which hooks write to"},
			{"dumped_timers", u64, "struct crpie_timer[nr_timers]: as they were"},
			{"nr_timers", u64, ""},
		},
	}
	plan := Struct{
		C: "crpie_plan", Go: "Plan", Use: Written,
		Members: []Member{
			{"size", u32, "sizeof(struct crpie_plan)"},
			{"abi", u32, "CRPIE_ABI_VERSION"},
			{"table", u64, "struct crpie_table"},
			{"shared", u64, "struct crpie_shared"},
			{"shared_size", u64, "bytes, with statuses and log ring"},
			{"control", u64, "struct crpie_control"},
			{"bell", u64, "struct crpie_bell"},
			{"log_off", u64, "of the log ring, from shared"},
			{"log_size", u64, "bytes, a power of two"},
			{"region_start", u64, ""},
			{"region_end", u64, ""},
			{"tasks", u64, "struct crpie_task[nr_tasks], parents before children"},
			{"nr_tasks", u64, ""},
			{"zygote", of(&thread), "its tid is 0, or with --restore-sibling the root task's, which it becomes"},
			{"dump_time_ns", i64, "CLOCK_REALTIME"},
			{"restore_time_ns", i64, ""},
			{"log_level", u32, ""},
			{"nr_parking", u32, "threads that are going to park"},
			{"pause_hook", u32, "stage before whose hooks threads stop for the controller; 0: none; or CRPIE_EVERY_CALL"},
			{"pause_plugin", u32, "index of the plugin that is meant, CRPIE_MAX_PLUGINS: every one"},
		},
	}
	status := Struct{
		C: "crpie_status", Go: "Status", Use: Read,
		About: "Written by one thread, read by the controller; mark also by other tasks.",
		Members: []Member{
			{"state", u32, "CRPIE_STATE_*"},
			{"op", u32, "index of the operation at work"},
			{"result", i64, "of the operation that failed: negative errno, or the unexpected value; of a call into a plugin"},
			{"hook", u32, "stage whose hook is running, or CRPIE_HOOK_INIT, CRPIE_HOOK_EXIT; 0: none"},
			{"plugin", u32, "index into the table's plugins"},
			{"fn", u64, ""},
			{"hook_seq", u32, "grows with every call into a plugin"},
			{"mark", u32, "futex: CRPIE_OP_SET_MARK"},
			{"detail", u64, "for CRPIE_OP_READ_PAGES and CRPIE_OP_UPDATE_PAGES the address at work"},
		},
	}
	shared := Struct{
		C: "crpie_shared", Go: "Shared",
		Members: []Member{
			{"log_head", u64, "bytes ever reserved by writers"},
			{"log_tail", u64, "bytes ever consumed by the controller, which has a count of its own"},
			{"status", ending(of(&status)), ""},
		},
	}
	control := Struct{
		C: "crpie_control", Go: "Control",
		Members: []Member{
			{"gate", u32, "futex: the highest gate that is open"},
			{"controller", i32, "its pid, or minus the number of a pidfd: a task that waits for it in vain ends"},
			{"traced", ending(u32), "futexes by status: 1 when the thread is traced"},
		},
	}
	call := Struct{
		C: "crpie_call", Go: "Call", Use: Read,
		About: "The last call of a thread into a plugin, hook 0: none. It stays when a hook has removed the task's own status.",
		Members: []Member{
			{"hook", u32, ""}, {"plugin", u32, ""}, {"fn", u64, ""},
		},
	}
	bell := Struct{
		C: "crpie_bell", Go: "Bell",
		About: "Every task may write it at any time, so it only hints: what is wrong here costs the controller time, nothing else.",
		Members: []Member{
			{"rung", u32, "futex: every report adds 1"},
			{"news", u32, "reports that statuses tell more about"},
			{"ready", u32, "tasks that reported; counts while no task has given up the restorer's privileges"},
			{"parked", u32, "threads that parked"},
			{"call", ending(of(&call)), "by status"},
		},
	}
	record := Struct{
		C: "crpie_log_record", Go: "LogRecord", Use: Read,
		About: "One log line in the ring, followed by text; records are padded to 8 bytes.",
		Members: []Member{
			{"len", u32, "of the record with header and padding; written last, 0: not there yet"},
			{"level", u32, ""},
			{"pid", i32, ""},
			{"tid", i32, ""},
			{"hook", u32, ""},
			{"plugin", u32, ""},
			{"text_len", u32, ""},
			{"seq", u32, "hook_seq of the call that logged it"},
		},
	}
	stub := Struct{
		C: "crpie_stub_call", Go: "StubCall", Use: Written, Asm: true,
		About: "A system call of the zygote's stub. nr below 0 ends the table: arg is the address to jump to, its rdi and its rsp.",
		Members: []Member{
			{"nr", i64, ""},
			{"arg", array(u64, MaxArgs), ""},
			{"want", i64, "the only good result; below 0: any that is not an error"},
		},
	}
	return []Struct{table, plugin, hook, op, run, pidfd, file, thread, task, plan, status, shared, control, call,
		bell, record, stub}
}

package contract

const (
	numGregs  = 19
	graftPage = 4096
)

// Graft is the contract between crpie graft and its core: graft/core/src/graft_contract.h.
func Graft() *Group {
	return &Group{Name: "crpie graft", Prefix: "graft_", Structs: graftStructs(), Enums: graftEnums(),
		Numbers: graftNumbers()}
}

func graftNumbers() []Number {
	const signals = 16 << 10
	return []Number{
		{C: "GRAFT_PAGE", Go: "GraftPage", Value: graftPage, About: "bytes"},
		{C: "GRAFT_GUARD", Go: "GraftGuard", Value: stackGuard, Text: "(1 << 20)",
			About: "bytes without access below each stack: CRPIE_STACK_GUARD"},
		{C: "GRAFT_STACK", Go: "GraftStack", Value: stack, Text: "(124 << 10)",
			About: "bytes for hooks, as in crpie restore"},
		{C: "GRAFT_SIGSTACK", Go: "GraftSigstack", Value: signals, Text: "(16 << 10)",
			About: "bytes for struct graft_worker and the handler of crashes"},
		{C: "GRAFT_SLOT", Go: "GraftSlot", Value: stackGuard + stack + signals,
			Text:  "(GRAFT_GUARD + GRAFT_STACK + GRAFT_SIGSTACK)",
			About: "of a thread: guard, stack, signal stack"},
		{C: "GRAFT_LEAVE_OFF", Value: graftPage - 64, Text: "(GRAFT_PAGE - 64)",
			About: "of struct graft_leave in the first frame page"},
		{C: "GRAFT_NR_GREGS", Go: "GraftNrGregs", Value: numGregs,
			About: "the first words of struct sigcontext, asm/sigcontext.h"},
		{C: "GRAFT_TOLD", Go: "GraftToldLines", Value: 4, About: "lines that a supervised task holds ready"},
		{C: "GRAFT_EXIT_STATUS", Go: "GraftExitStatus", Value: 70,
			About: "of a task that ends itself because a hook failed: EX_SOFTWARE of sysexits.h"},
	}
}

func graftEnums() []Enum {
	return []Enum{
		{
			About: "What a failing hook does.",
			Members: []Enumerator{
				{"GRAFT_ON_ERROR_KILL", "GraftOnErrorKill", 0, "ends its task"},
				{"GRAFT_ON_ERROR_CONTINUE", "GraftOnErrorContinue", 1, "is the last one; the task goes on"},
			},
		},
		{
			About: "What lines may do to descriptor 2.",
			Members: []Enumerator{
				{"GRAFT_STDERR_NONE", "GraftStderrNone", 0, ""},
				{"GRAFT_STDERR_WRITE", "GraftStderrWrite", 1, ""},
				{"GRAFT_STDERR_APPEND", "GraftStderrAppend", 2,
					"a file that may have been opened several times without O_APPEND, so with several positions"},
			},
		},
		{
			Go: "GraftState", GoBase: "uint32",
			About: "How far a supervised task has come.",
			Members: []Enumerator{
				{"GRAFT_STATE_NOT_BEGUN", "GraftNotBegun", 0, ""},
				{"GRAFT_STATE_RUNNING", "GraftRunning", 1, ""},
				{"GRAFT_STATE_DONE", "GraftDone", 2, "all hooks have run: the task waits for the answer"},
				{"GRAFT_STATE_FAILING", "GraftFailing", 3, "the rest of the status is being written"},
				{"GRAFT_STATE_FAILED", "GraftFailed", 4, "a call has failed: the task waits for its end"},
			},
		},
		{
			About: "Why a call failed.",
			Members: []Enumerator{
				{"GRAFT_WHY_RETURNED", "GraftReturned", 1, ""},
				{"GRAFT_WHY_CRASHED", "GraftCrashed", 2, ""},
				{"GRAFT_WHY_TOO_LONG", "GraftTooLong", 3, ""},
				{"GRAFT_WHY_UNGUARDED", "GraftUnguarded", 4, "number is the error for which nothing could be called"},
			},
		},
		{
			About: "Memory that comes back fresh.",
			Members: []Enumerator{
				{"GRAFT_RENEW_STATES", "GraftRenewStates", 1, "of the vDSO's getrandom: fresh droppable memory"},
				{"GRAFT_RENEW_WIPE", "GraftRenewWipe", 2, "MADV_WIPEONFORK: zeros"},
			},
		},
	}
}

// graftStructs lists what crpie graft writes into a task and reads from it. Addresses belong to that task, so they are
// u64 and never pointers.
func graftStructs() []Struct {
	thread := Struct{
		C: "graft_thread", Go: "GraftThread", Use: Written,
		Members: []Member{
			{"task", u64, "struct graft_task"},
			{"tid", i32, ""},
			{"index", u32, "0: the leader"},
			{"frame", u64, "its page among the frames"},
			{"slot", u64, "its guard; stack and signal stack follow"},
			{"sigmask", u64, ""},
			{"gregs", array(u64, numGregs), "in the order of struct sigcontext"},
			{"regs", u64, "struct crpie_regs, which hooks write to"},
		},
	}
	task := Struct{
		C: "graft_task", Go: "GraftTask", Use: Written,
		Members: []Member{
			{"size", u32, "sizeof(struct graft_task)"},
			{"abi", u32, "CRPIE_ABI_VERSION"},
			{"pid", i32, ""},
			{"nr_threads", u32, ""},
			{"threads", u64, "struct graft_thread[nr_threads]"},
			{"table", u64, "struct crpie_table"},
			{"comm", u64, ""},
			{"vmas", u64, "as in struct crpie_task"},
			{"nr_vmas", u64, ""},
			{"mm", u64, ""},
			{"dump_time_ns", i64, ""},
			{"timeout_ns", i64, "for one hook; 0: no watchdog"},
			{"on_error", u32, "GRAFT_ON_ERROR_*"},
			{"log_level", u32, ""},
			{"log_path", u64, "or 0"},
			{"use_stderr", u64, "GRAFT_STDERR_*"},
			{"keep_start", u64, ""},
			{"keep_size", u64, ""},
			{"blob_start", u64, ""},
			{"blob_size", u64, ""},
			{"watchdog_slot", u64, ""},
			{"renewals", u64, "struct graft_renewal[nr_renewals]"},
			{"nr_renewals", u64, ""},
			{"timers", u64, "struct crpie_timer[nr_timers], which hooks write to; behind them as they were set last"},
			{"nr_timers", u64, ""},
			{"patience_ns", i64,
				"not 0: somebody outside reads struct graft_status, and answers; the task ends when it hears nothing for so long"},
		},
	}
	status := Struct{
		C: "graft_status", Go: "GraftStatus", Use: Read,
		About: "What a supervisor outside reads, and its answer. It lies in the core's data, symbol graft_status.",
		Members: []Member{
			{"state", u32, "GRAFT_STATE_*"},
			{"answer", u32, "written from outside: not 0: go on"},
			{"watched", u32, "written from outside, another number each time: somebody is there"},
			{"tid", i32, "of the thread that failed"},
			{"hook", u32, "that failed, or CRPIE_HOOK_INIT, CRPIE_HOOK_EXIT"},
			{"plugin", u32, "index into the table's plugins"},
			{"fn", u64, "the function that was called"},
			{"kind", i64, "GRAFT_WHY_*"},
			{"number", i64, "what it returned, the signal, or milliseconds"},
			{"address", u64, "what a crash was about"},
			{"ip", u64, "where it crashed"},
		},
	}
	talk := Struct{
		C: "graft_talk", Go: "GraftTalk",
		About: "What a supervised task says, in turn in the places of graft_told; in the core's data, symbol graft_talk.",
		Members: []Member{
			{"begun", u64, "lines for which there was a place"},
			{"taken", u64, "written from outside: lines whose places are free again"},
		},
	}
	told := Struct{
		C: "graft_told", Go: "GraftTold", Use: Read,
		About: "A line of a plugin's, followed by its text.",
		Members: []Member{
			{"number", u64, "of the line, from 1 on; written last"},
			{"level", u32, ""},
			{"tid", i32, ""},
			{"hook", u32, ""},
			{"plugin", u32, "index into the table's plugins"},
			{"len", u64, "of the text, bytes"},
		},
	}
	renewal := Struct{
		C: "graft_renewal", Go: "GraftRenewal", Use: Written,
		Members: []Member{{"start", u64, ""}, {"size", u64, ""}, {"kind", u64, "GRAFT_RENEW_*"}},
	}
	leave := Struct{
		C: "graft_leave", Asm: true,
		About: "What graft_leave needs, in memory that stays.",
		Members: []Member{
			{"inside", u32, "threads that have not left the blob"},
			{"gone", u32, "futex: the blob is unmapped"},
			{"blob_start", u64, ""},
			{"blob_size", u64, ""},
		},
	}
	return []Struct{thread, task, status, talk, told, renewal, leave}
}

package stage

import (
	"fmt"
	"strings"
)

// Stage is a moment of a restore or around a dump: one of CR_PLUGIN_HOOK__PIE_RST_* or CR_PLUGIN_HOOK__PIE_DMP_* of
// plugin-sdk/include/crpie/abi.h.
type Stage uint32

// The stages of a restore, in the order in which it reaches them.
const (
	TaskCreated        Stage = 0x100 + iota // the task exists and has nothing of its own yet
	PostMemory                              // its memory is in place
	PostFiles                               // its descriptors are in place
	PostThreads                             // its threads exist
	PreCreds                                // it still has the restorer's privileges
	PreSigreturnThread                      // in each thread but the leader: next come its registers
	// in the leader, when all threads have had theirs: next come its registers
	PreSigreturn
	end
)

// The stages around a dump, in the live process.
const (
	PreDump Stage = 0x180 + iota // criu dump comes next
	Resumed                      // the process goes on, after --leave-running or a failed dump
	endOfDump
)

// Calls into a plugin outside the stages: CRPIE_HOOK_INIT before its first hook, CRPIE_HOOK_EXIT after its last.
const (
	Init Stage = 0xf0
	Exit Stage = 0xf1
)

// prefix is what CRIU puts in front of the names of hooks.
const prefix = "CR_PLUGIN_HOOK__"

var names = [...]string{
	"PIE_RST_TASK_CREATED",
	"PIE_RST_POST_MEMORY",
	"PIE_RST_POST_FILES",
	"PIE_RST_POST_THREADS",
	"PIE_RST_PRE_CREDS",
	"PIE_RST_PRE_SIGRETURN_THREAD",
	"PIE_RST_PRE_SIGRETURN",
}

var dumpNames = [...]string{"PIE_DMP_PRE_DUMP", "PIE_DMP_RESUMED"}

// All lists every stage of a restore in its order.
func All() []Stage { return between(TaskCreated, end) }

// Dump lists the stages around a dump.
func Dump() []Stage { return between(PreDump, endOfDump) }

func between(first, end Stage) (all []Stage) {
	for s := first; s < end; s++ {
		all = append(all, s)
	}
	return all
}

// Parse finds a stage by its name, with or without CRIU's prefix CR_PLUGIN_HOOK__.
func Parse(name string) (Stage, error) {
	short := strings.TrimPrefix(name, prefix)
	for _, s := range append(All(), Dump()...) {
		if s.String() == short {
			return s, nil
		}
	}
	return 0, fmt.Errorf("stage %q is not known: want one of %s, %s", name, strings.Join(names[:], ", "),
		strings.Join(dumpNames[:], ", "))
}

// ParseShort finds a stage by its name as people write it: PRE_SIGRETURN, pre-sigreturn, or the whole name.
func ParseShort(name string) (Stage, error) {
	upper := strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
	for _, whole := range []string{"PIE_RST_" + upper, "PIE_DMP_" + upper} {
		if s, err := Parse(whole); err == nil {
			return s, nil
		}
	}
	return Parse(name)
}

// Known reports whether s is a stage of this version of the plugin interface. Init and Exit are not stages.
func (s Stage) Known() bool { return s >= TaskCreated && s < end || s.OfDump() }

// OfDump reports whether s is a stage around a dump, which no restore reaches.
func (s Stage) OfDump() bool { return s >= PreDump && s < endOfDump }

// String gives the name without CRIU's prefix, "init" or "exit", or "hook 0x..." for an unknown number.
func (s Stage) String() string {
	switch {
	case s == Init:
		return "init"
	case s == Exit:
		return "exit"
	case s.OfDump():
		return dumpNames[s-PreDump]
	case !s.Known():
		return fmt.Sprintf("hook 0x%x", uint32(s))
	}
	return names[s-TaskCreated]
}

// Call names the called function: "hook PIE_RST_...", "init" or "exit".
func (s Stage) Call() string {
	if s.Known() {
		return "hook " + s.String()
	}
	return s.String()
}

package stage

import (
	"fmt"
	"strings"
)

// Stage is a moment of a restore: one of CR_PLUGIN_HOOK__PIE_RST_* of plugin-sdk/include/crpie/abi.h.
type Stage uint32

// The stages, in the order in which a restore reaches them.
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

// All lists every stage in restore order.
func All() []Stage {
	all := make([]Stage, 0, len(names))
	for s := TaskCreated; s < end; s++ {
		all = append(all, s)
	}
	return all
}

// Parse finds a stage by its name, with or without CRIU's prefix CR_PLUGIN_HOOK__.
func Parse(name string) (Stage, error) {
	short := strings.TrimPrefix(name, prefix)
	for i, n := range names {
		if n == short {
			return TaskCreated + Stage(i), nil
		}
	}
	return 0, fmt.Errorf("stage %q is not known: want one of %s", name, strings.Join(names[:], ", "))
}

// Known reports whether s is a stage of this version of the plugin interface. Init and Exit are not stages.
func (s Stage) Known() bool { return s >= TaskCreated && s < end }

// String gives the name without CRIU's prefix, "init" or "exit", or "hook 0x..." for an unknown number.
func (s Stage) String() string {
	switch {
	case s == Init:
		return "init"
	case s == Exit:
		return "exit"
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

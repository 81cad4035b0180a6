package report

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/crpie/crpie/stage"
)

// Process is what was done to one process.
type Process struct {
	Pid     int           `json:"pid"`
	Comm    string        `json:"comm"`
	Threads int           `json:"threads"`
	At      string        `json:"at,omitempty"` // where the program was stopped
	Calls   []*Call       `json:"calls"`
	Notes   []string      `json:"notes,omitempty"`     // what whoever tries may want to know
	Paused  time.Duration `json:"paused_ns,omitempty"` // how long it did not run; 0: in a restore

	Rehearsed bool  `json:"rehearsed,omitempty"` // the calls were made in a copy
	Diff      *Diff `json:"diff,omitempty"`      // if somebody has asked
}

// Call is one call into a plugin.
type Call struct {
	Plugin  string        `json:"plugin"`
	Stage   stage.Stage   `json:"-"`
	Hook    string        `json:"hook"`
	Tid     int           `json:"tid"`
	Early   bool          `json:"early,omitempty"` // a restore runs it before the process is complete
	Result  int32         `json:"result"`
	Skipped bool          `json:"not_for_this_task,omitempty"` // it returned -ENOTSUP
	Failed  bool          `json:"failed,omitempty"`
	Took    time.Duration `json:"took_ns"`

	Syscalls []*Syscall `json:"syscalls,omitempty"` // if somebody has asked
	Untraced int        `json:"syscalls_omitted,omitempty"`
}

// Syscall is a system call that a hook has made. Calls of the vDSO, such as clock_gettime(2), are none.
type Syscall struct {
	Name       string   `json:"name"`
	Args       []string `json:"args"`
	Result     int64    `json:"result"`
	Error      string   `json:"error,omitempty"` // the name of the errno
	Unfinished bool     `json:"unfinished,omitempty"`
}

// String spells it as strace(1) does.
func (s *Syscall) String() string {
	text := fmt.Sprintf("%s(%s)", s.Name, strings.Join(s.Args, ", "))
	switch {
	case s.Unfinished:
		return text + " did not return"
	case s.Error != "":
		return fmt.Sprintf("%s = -1 %s", text, s.Error)
	case s.Result > math.MaxInt32 || s.Result < 0:
		return fmt.Sprintf("%s = %#x", text, uint64(s.Result))
	}
	return fmt.Sprintf("%s = %d", text, s.Result)
}

// Diff is what hooks have changed in a process. Lists are nil where nothing is another thing.
type Diff struct {
	Memory      []*MemoryChange `json:"memory,omitempty"`
	MemoryBytes uint64          `json:"memory_bytes"`             // that are others, also those that Memory leaves out
	Omitted     int             `json:"memory_omitted,omitempty"` // changes that Memory leaves out
	Mappings    []*Change       `json:"mappings,omitempty"`       // by their addresses
	Descriptors []*Change       `json:"descriptors,omitempty"`    // by their numbers
	Signals     []*Change       `json:"signals,omitempty"`        // actions, by the signals' names
	Limits      []*Change       `json:"limits,omitempty"`         // as in /proc/PID/limits
	Environment []*Change       `json:"environment,omitempty"`    // by the variables' names
	Registers   []*Change       `json:"registers,omitempty"`      // of threads, by hooks of them
	Timers      []*Change       `json:"timers,omitempty"`         // by hooks
	Attributes  []*Change       `json:"attributes,omitempty"`     // as in /proc/PID/status, cwd, root
	Pointers    []*Pointer      `json:"pointers,omitempty"`       // that stay behind
	Unknown     []string        `json:"unknown,omitempty"`        // what could not be compared, and why
}

// Change is a thing that was one way before and is another way after. Either can be empty without being absent, as a
// variable can that is set to nothing.
type Change struct {
	What   string `json:"what"`
	Before string `json:"before"`
	After  string `json:"after"`
	New    bool   `json:"new,omitempty"`  // it was not there before
	Gone   bool   `json:"gone,omitempty"` // it is not there after

	Undone bool `json:"undone,omitempty"` // the restore itself has changed it again
}

// MemoryChange is memory with other bytes, or a variable of at most 8 bytes of which some are others.
type MemoryChange struct {
	Place
	Address string `json:"address"`
	Size    uint64 `json:"size"`
	Before  string `json:"before"` // bytes in hexadecimal, the first of them if there are many
	After   string `json:"after"`
}

// Place is where memory lies.
type Place struct {
	Mapping  string `json:"mapping"`            // a file, [heap], [stack], or "anonymous"
	Symbol   string `json:"symbol,omitempty"`   // name+offset of what the symbol table has there
	Variable string `json:"variable,omitempty"` // with its members, as DWARF has it
	Type     string `json:"type,omitempty"`     // as DWARF has it
}

// Pointer is a word that points to the memory that the process has lent, and that is unmapped again.
type Pointer struct {
	Place
	Address string `json:"address,omitempty"` // of the word; empty: the kernel has it
	Value   string `json:"value"`
}

package graft

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/report"
	"github.com/crpie/crpie/stage"
)

// Supervised is a grafted task that waits for an answer when its hooks have ended. Whoever restores it reads Size
// bytes at Address from its memory, and writes to it; both are the same as long as it waits.
type Supervised struct {
	Pid     uint32 // of the images
	Address uint64 // struct graft_status of the core
	// SaidAt is where SaidSize bytes are that Lines takes, and TakenAt where a 64-bit word makes room for more.
	SaidAt, TakenAt uint64

	image *blob.Image
	taken uint64 // lines
}

// StatusSize is the length of what a supervisor reads.
const StatusSize = abi.GraftStatusSize

// saidLine is the length of a line with its text.
const saidLine = abi.GraftToldSize + abi.LogLineMax

// SaidSize is the length of the lines that a task holds ready.
const SaidSize = abi.GraftToldLines * saidLine

// Where a supervisor writes a 32-bit word: not 0 lets the task go; another value each time tells it that somebody
// is there.
const (
	AnswerOffset  = abi.GraftStatusAnswerOff
	WatchedOffset = abi.GraftStatusWatchedOff
)

// State is how far a supervised task has come.
type State uint32

// The states of a supervised task.
const (
	NotBegun = State(abi.GraftNotBegun)
	Running  = State(abi.GraftRunning)
	Done     = State(abi.GraftDone)   // all hooks have run; the task waits
	Failed   = State(abi.GraftFailed) // a hook has failed; the task waits for its end
)

// supervise notes where the task's status will be.
func (t *taskGraft) supervise() error {
	if t.opts.Patience == 0 {
		return nil
	}
	at, ok1 := t.image.CoreSymbol("graft_status")
	talk, ok2 := t.image.CoreSymbol("graft_talk")
	lines, ok3 := t.image.CoreSymbol("graft_lines")
	if !ok1 || !ok2 || !ok3 {
		return errors.New("the core has no status: graft/core/graft_amd64.o is not what its sources build")
	}
	t.plan.Supervised = append(t.plan.Supervised, &Supervised{Pid: t.img.Pid, Address: uint64(at),
		SaidAt: uint64(lines), TakenAt: uint64(talk) + abi.GraftTalkTakenOff, image: t.image})
	return nil
}

// Lines gives what plugins have logged since the last time, and how many lines that are since the beginning, for
// TakenAt. A hook can have written anything there.
func (s *Supervised) Lines(said []byte) (lines []report.Line, taken uint64) {
	for range abi.GraftToldLines {
		var head abi.GraftTold
		record := said[s.taken%abi.GraftToldLines*saidLine:][:saidLine]
		if head.Get(record); head.Number != s.taken+1 {
			break
		}
		text := record[abi.GraftToldSize:]
		lines = append(lines, report.Line{
			Level: min(max(report.LogLevel(head.Level), report.LogError), report.LogDebug),
			Pid:   int(s.Pid), Tid: int(head.Tid), Hook: stage.Stage(head.Hook),
			Plugin: s.image.PluginName(int(head.Plugin)),
			Text:   string(text[:min(head.Len, uint64(len(text)))]),
		})
		s.taken++
	}
	return lines, s.taken
}

// Read tells what a status says; err is a *report.HookError when a call into a plugin has failed. A hook can have
// written anything into the status, so nothing in it is relied on.
func (s *Supervised) Read(status []byte) (State, error) {
	var words abi.GraftStatus
	words.Get(status)
	switch state := State(words.State); {
	case words.State == uint32(abi.GraftFailing):
		return Running, nil
	case state > Failed:
		return state, fmt.Errorf("restore task %d: its status is overwritten: state %d", s.Pid, state)
	case state != Failed:
		return state, nil
	}
	return Failed, s.hookError(&words)
}

// hookError describes the call that the status names.
func (s *Supervised) hookError(words *abi.GraftStatus) *report.HookError {
	at := blob.Addr(words.Fn)
	if words.Kind == abi.GraftCrashed {
		at = blob.Addr(words.Ip)
	}
	e := &report.HookError{
		Pid: int(s.Pid), Tid: int(words.Tid), Plugin: s.image.PluginName(int(words.Plugin)),
		Hook: stage.Stage(words.Hook), Where: s.image.Describe(at), Cause: cause(words),
	}
	e.Location, _ = s.image.Locate(at)
	if words.Kind == abi.GraftReturned && words.Number < 0 && words.Number >= -maxErrno {
		e.Errno = syscall.Errno(-words.Number)
	}
	return e
}

const maxErrno = 4095 // MAX_ERRNO, include/linux/err.h

// cause says how a call failed.
func cause(s *abi.GraftStatus) string {
	switch s.Kind {
	case abi.GraftReturned:
		return fmt.Sprintf("returned %d", s.Number)
	case abi.GraftCrashed:
		return fmt.Sprintf("crashed with signal %d at address %#x", s.Number, s.Address)
	case abi.GraftTooLong:
		return fmt.Sprintf("still running after %d ms (pie-timeout)", s.Number)
	case abi.GraftUnguarded:
		return fmt.Sprintf("could not be guarded: error %d", s.Number)
	}
	return "failed"
}

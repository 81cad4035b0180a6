//go:build amd64

package inject

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/internal/sys"
)

// seize stops every thread of a process that runs. gone: there is none left. Threads run on while they become traced,
// so that all are so before the first one stands.
func (p *target) seize() (gone bool, err error) {
	fresh, err := p.seizeFresh()
	p.began = time.Now()
	for err == nil && len(fresh) > 0 {
		if err = p.stopThreads(fresh); err == nil {
			fresh, err = p.seizeFresh()
		}
	}
	if err != nil {
		return false, err
	}
	if len(p.threads) == 0 { // those that were there have ended before they stopped
		p.session.targets = slices.DeleteFunc(p.session.targets, func(q *target) bool { return q == p })
		return true, nil
	}
	return false, p.leaderFirst()
}

// leaderFirst puts the leader before the other threads, which may have lower numbers or be known sooner.
func (p *target) leaderFirst() error {
	for i, t := range p.threads {
		if t.tid == p.pid {
			p.threads[0], p.threads[i] = t, p.threads[0]
			return nil
		}
	}
	return p.problem("its first thread has ended, others run on; there is nobody to run hooks for the process")
}

// seizeFresh traces the threads that are not traced yet. A thread that is stopped can have started another before.
func (p *target) seizeFresh() (fresh []*thread, err error) {
	tids, err := p.listThreads()
	if err != nil {
		return nil, err
	}
	for _, tid := range tids {
		if p.thread(tid) != nil {
			continue
		}
		t := &thread{tid: tid}
		var err error
		if !p.seized[tid] {
			err = sys.Seize(tid, p.options)
		}
		switch {
		case err == nil:
			p.adopt(t)
			fresh = append(fresh, t)
		case p.ending(tid):
		default:
			return fresh, p.problem("%s", p.whyNotSeized(tid, err))
		}
	}
	return fresh, nil
}

// stopThreads asks all of the threads to stop, and waits for them.
func (p *target) stopThreads(fresh []*thread) error {
	for _, t := range fresh {
		if p.seized[t.tid] {
			delete(p.seized, t.tid) // if it has ended, its number stays until its parent waits for it
			continue                // and asked
		}
		if err := sys.Interrupt(t.tid); err != nil && !p.ending(t.tid) {
			return p.problem("%w", err)
		}
	}
	for _, t := range fresh {
		if err := p.awaitAsked(t); err != nil {
			return err
		}
	}
	return nil
}

// adopt adds a thread; the target is the session's from its first on.
func (p *target) adopt(t *thread) {
	if !slices.Contains(p.session.targets, p) {
		p.session.targets = append(p.session.targets, p)
	}
	p.threads = append(p.threads, t)
}

// listThreads lists the threads that exist now. A process that ends meanwhile has none, which only matters for the one
// that was asked for.
func (p *target) listThreads() (tids []sys.PID, err error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", p.pid))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		if len(p.threads) == 0 && p.root {
			return nil, p.problem("there is no such process")
		}
		return nil, nil
	}
	if err != nil {
		return nil, p.problem("%w", err)
	}
	for _, e := range entries {
		if tid, err := strconv.Atoi(e.Name()); err == nil {
			tids = append(tids, sys.PID(tid))
		}
	}
	return tids, nil
}

// ending reports whether a thread has ended or is about to: the kernel refuses to trace those with EPERM.
func (p *target) ending(tid sys.PID) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/stat", p.pid, tid))
	fields := statFields(string(text))
	const flags, exiting = 9, 0x4 // PF_EXITING, include/linux/sched.h
	if err != nil || len(fields) <= flags {
		return true
	}
	bits, _ := strconv.ParseUint(fields[flags], 10, 32)
	return fields[3] == "Z" || fields[3] == "X" || bits&exiting != 0
}

// whyNotSeized says why the kernel does not let a thread be traced, ptrace(2) "Ptrace access mode checking".
func (p *target) whyNotSeized(tid sys.PID, err error) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/status", p.pid, tid))
	s := parseStatus(string(text))
	uids := strings.Fields(s["Uid"])
	var owner unix.Stat_t
	statErr := unix.Stat(fmt.Sprintf("/proc/%d", p.pid), &owner)
	switch tracer := s.number("TracerPid"); {
	case !errors.Is(err, unix.EPERM):
		return err.Error()
	case tracer != 0:
		return fmt.Sprintf("thread %d is traced by process %d (%s); end that first", tid, tracer, commOf(tracer))
	case s["VmSize"] == "":
		return "it is a thread of the kernel"
	case os.Geteuid() != 0 && len(uids) > 0 && uids[0] != strconv.Itoa(os.Getuid()):
		return fmt.Sprintf("it belongs to uid %s, crpie runs as %d", uids[0], os.Getuid())
	case os.Geteuid() != 0 && statErr == nil && owner.Uid != uint32(os.Getuid()):
		return "it is not dumpable, PR_SET_DUMPABLE of prctl(2): it has or had more rights than you; run crpie as root"
	}
	if scope := yamaScope(); scope != "" && scope != "0" {
		return fmt.Sprintf("kernel.yama.ptrace_scope is %s: only ancestors, or root, may trace it; "+
			"start it with crpie try -- PROGRAM, or run crpie as root", scope)
	}
	return err.Error() + "; it may have capabilities that crpie lacks"
}

func yamaScope() string {
	text, _ := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope")
	return strings.TrimSpace(string(text))
}

func commOf(pid int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return escape.Name(strings.TrimSpace(string(text)))
}

// awaitAsked waits until a thread has stopped for PTRACE_INTERRUPT. Signals that come on the way are delivered.
func (p *target) awaitAsked(t *thread) error {
	for end := p.session.stopBy(); ; {
		ws, changed, err := sys.WaitUntil(t.tid, end)
		switch {
		case err != nil:
			return p.problem("%w", err)
		case !changed:
			return p.problem("thread %d does not stop; %s", t.tid, p.whyItRuns(t.tid))
		}
		switch kindOf(ws) {
		case stopGone:
			p.forget(t)
			return nil
		case stopAsked, stopGroup:
			s := p.statusOf(t.tid)
			if !s.faulted() {
				t.stopped = true
				return p.found(t, s)
			}
			err := sys.ContinueWith(t.tid, false, 0) // to the signal's delivery
			if err != nil && !p.ending(t.tid) {
				return p.problem("%w", err)
			}
			continue
		}
		err = p.pass(t, ws)
		if err == nil {
			err = sys.Interrupt(t.tid) // any stop takes the request with it, kernel/signal.c ptrace_stop
		}
		if err != nil && !p.ending(t.tid) {
			return p.problem("%w", err)
		}
	}
}

// statusOf reads the status of a thread, empty if it has gone.
func (p *target) statusOf(tid sys.PID) status {
	text, _ := sys.ReadProc(fmt.Sprintf("/proc/%d/task/%d/status", p.pid, tid))
	return parseStatus(string(text))
}

// found reads at once what has to be known to let a thread with this status go on unharmed, whatever fails from here
// on.
func (p *target) found(t *thread, s status) (err error) {
	if t.regs, err = sys.GetRegs(t.tid); err != nil {
		return p.problem("%w", err)
	}
	if interrupted(&t.regs) {
		t.signalled = s.signalled()
	}
	if back := resumed(t.regs, false, t.signalled); back != t.regs {
		t.regs = back
		if err := sys.SetRegs(t.tid, &back); err != nil {
			return p.problem("%w", err)
		}
	}
	return nil
}

// pass lets a thread go on from a stop as if it were not traced. A breakpoint of ours is stepped back from.
func (p *target) pass(t *thread, ws unix.WaitStatus) error {
	sig := unix.Signal(0)
	if isBirth(ws) {
		if err := p.bears(t); err != nil {
			return err
		}
	}
	if kindOf(ws) == stopSignal {
		sig = ws.StopSignal()
		if hit, err := p.stepBack(t, sig); hit || err != nil {
			sig = 0
		}
	}
	return sys.ContinueWith(t.tid, false, sig)
}

// whyItRuns says what a thread is at that cannot be stopped.
func (p *target) whyItRuns(tid sys.PID) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/stat", p.pid, tid))
	fields := statFields(string(text))
	if len(fields) <= 3 || fields[3] != "D" {
		return "it goes on from here"
	}
	return "it waits in the kernel where no signal reaches it: for a device, a network file system, or a child of " +
		"vfork(2) that has not executed a program; it goes on from here"
}

func (p *target) forget(gone *thread) {
	for i, t := range p.threads {
		if t == gone {
			p.threads = append(p.threads[:i], p.threads[i+1:]...)
			return
		}
	}
}

func (p *target) thread(tid sys.PID) *thread {
	for _, t := range p.threads {
		if t.tid == tid {
			return t
		}
	}
	return nil
}

func (p *target) problem(format string, args ...any) error {
	pid := p.pid
	if p.copy {
		pid = p.self.pid
	}
	return fmt.Errorf("try process %d: %w", pid, fmt.Errorf(format, args...))
}

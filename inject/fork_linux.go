//go:build amd64

package inject

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/taskview"
)

// traceOptions are the options of ptrace(2) with which the threads are traced.
func (p *target) traceOptions() uintptr {
	options := p.options | sys.OptSysGood
	if p.suspended {
		options |= sys.OptSuspendSeccomp
	}
	return options
}

// fork has the leader copy the process. The copy has one thread, the leader's, and stands still; it ends with crpie. No
// signal tells of its end, so the program cannot take it for a child of its own, wait(2) without __WALL.
func (p *target) fork() (*target, error) {
	t := p.threads[0]
	p.cloned = 0
	err := sys.SetOptions(t.tid, p.traceOptions()|sys.OptTraceClone)
	if err != nil {
		return nil, p.problem("%w", err)
	}
	inner, err := p.remote(t, "clone", unix.SYS_CLONE, 0, 0, 0, 0, 0)
	err = errors.Join(err, sys.SetOptions(t.tid, p.traceOptions()))
	if p.cloned == 0 {
		return nil, err
	}
	c := p.copied(int(inner))
	if err == nil {
		err = c.firstStop()
	}
	if err != nil {
		return nil, errors.Join(err, c.discard(), p.reap(c))
	}
	return c, nil
}

// copied describes the copy, which is where the leader is.
func (p *target) copied(inner int) *target {
	leader := *p.threads[0]
	leader.tid, leader.inner, leader.stopped, leader.keep = p.cloned, inner, true, nil
	leader.xstate = slices.Clone(leader.xstate)
	return &target{
		session: p.session, pid: p.cloned, root: p.root, options: sys.OptExitKill, threads: []*thread{&leader},
		gate: p.gate, gateOf: &leader, gateClones: true, suspended: p.suspended, self: p.self, view: p.view,
		region: p.region, image: p.image, entries: p.entries, table: p.table, ctx: p.ctx,
		report: p.report, copy: true,
	}
}

// firstStop waits for the stop with which a copy begins.
func (p *target) firstStop() error {
	t := p.threads[0]
	ws, changed, err := sys.WaitUntil(t.tid, p.stopBy())
	switch {
	case err != nil:
		return p.problem("%w", err)
	case !changed || kindOf(ws) == stopGone:
		return p.problem("its copy %d does not stop", t.tid)
	}
	err = sys.SetOptions(t.tid, p.traceOptions())
	if err == nil {
		p.mem, err = sys.OpenMemory(p.pid)
	}
	if err != nil {
		return p.problem("%w", err)
	}
	return nil
}

// discard ends a copy. Its parent has to reap it.
func (p *target) discard() error {
	if p.mem != nil {
		p.mem.Close()
	}
	err := sys.Kill(p.pid, unix.SIGKILL)
	for err == nil {
		var ws unix.WaitStatus
		if ws, err = sys.Wait(p.pid); err == nil && kindOf(ws) == stopGone {
			return nil
		}
	}
	if errors.Is(err, unix.ECHILD) {
		return nil
	}
	return err
}

// reap collects a copy that has ended, or finds that the program has done so.
func (p *target) reap(c *target) error {
	inner := c.threads[0].inner
	if inner == 0 { // not known: any child would be collected
		return nil
	}
	_, err := p.remote(p.threads[0], "wait4", unix.SYS_WAIT4, uint64(inner), 0, unix.WALL|unix.WNOHANG, 0)
	if errors.Is(err, unix.ECHILD) {
		return nil
	}
	return err
}

// startRehearsals copies the processes, which go on then.
func (s *session) startRehearsals() error {
	for _, p := range s.targets {
		err := p.openGate()
		if err == nil {
			p.double, err = p.fork()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// rehearse runs the hooks in the copies, and ends those, whatever has failed before.
func (s *session) rehearse(failed error) error {
	for _, p := range s.targets {
		if p.double == nil {
			continue
		}
		if failed == nil {
			failed = p.double.rehearse()
		}
		failed = errors.Join(failed, p.double.discard(), p.collect())
	}
	return failed
}

// rehearse runs the hooks in the copy, which shares no memory and no descriptors with the original.
func (p *target) rehearse() error {
	p.report.Rehearsed = true
	err := p.lookAround()
	if err == nil {
		err = p.unshare()
	}
	if err != nil {
		return err
	}
	return p.run()
}

// maxShared bounds the memory that a rehearsal copies, bytes.
const maxShared = 1 << 30

// unshare replaces memory that the copy has in common with the program, and perhaps with others, by copies.
func (p *target) unshare() error {
	total := uint64(0)
	devices := p.devices(p.view.vmas)
	for _, v := range p.view.vmas {
		if v.Flags&unix.MAP_SHARED == 0 {
			continue
		}
		size := v.End - v.Start
		var contents []byte
		if !devices[v.Start] {
			if total += size; total > maxShared {
				return p.problem("it shares more than %d MiB of memory with others, all of which "+
					"a rehearsal would copy", maxShared>>20)
			}
			contents = make([]byte, size)
			contents = contents[:p.mem.ReadSome(v.Start, contents)]
		}
		if err := p.replace(&v, contents); err != nil {
			return err
		}
	}
	return nil
}

// replace puts private memory in the place of a mapping; nobody can use it without contents.
func (p *target) replace(v *taskview.VMA, contents []byte) error {
	const private = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_FIXED | unix.MAP_NORESERVE
	prot := uint64(v.Prot)
	if len(contents) == 0 {
		prot = unix.PROT_NONE
	}
	err := p.mmap(v.Start, v.End-v.Start, prot, private)
	if err != nil || len(contents) == 0 {
		return err
	}
	if err := p.mem.Write(v.Start, contents); err != nil {
		return p.problem("%w", err)
	}
	return nil
}

// collect stops the program's leader once more, which reaps the copy. A program that has ended has no copy to reap.
func (p *target) collect() error {
	q := &target{session: p.session, pid: p.pid, options: p.options}
	t := &thread{tid: p.pid}
	err := sys.Seize(t.tid, q.options)
	if err == nil {
		q.threads = []*thread{t}
		err = sys.Interrupt(t.tid)
	}
	if err == nil {
		err = q.awaitAsked(t)
	}
	if err != nil || len(q.threads) == 0 {
		if p.ending(p.pid) {
			return nil
		}
		return fmt.Errorf("try process %d: a zombie, %d, stays until it ends: %w", p.pid, p.double.pid, err)
	}
	err = q.lookAround()
	if err == nil {
		err = q.openGate()
	}
	if err == nil {
		err = q.reap(p.double)
	}
	return errors.Join(err, q.cure(), q.release())
}

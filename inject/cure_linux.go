//go:build amd64

package inject

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/changes"
	"github.com/crpie/crpie/internal/sys"
)

// cure takes everything out of the process and gives every thread back what it had. It does what can be done, whatever
// fails on the way; what a thread still stands on stays.
func (p *target) cure() error {
	var errs []error
	for _, t := range p.threads {
		if t.tid != p.pid {
			errs = append(errs, p.giveBack(t))
		}
	}
	if leader := p.thread(p.pid); p.mapped && leader != nil && leader.stopped {
		errs = append(errs, p.returnSignals(), p.returnActions())
		if !p.lent(leader) {
			errs = append(errs, p.unmap())
		}
	}
	if leader := p.thread(p.pid); leader != nil {
		errs = append(errs, p.giveBack(leader))
	}
	if !p.lent(nil) {
		errs = append(errs, p.closeGate())
	}
	return errors.Join(errs...)
}

// lent reports whether a thread, except for one, has crpie's registers.
func (p *target) lent(except *thread) bool {
	return slices.ContainsFunc(p.threads, func(t *thread) bool { return t.lent && t != except })
}

func (p *target) unmap() error {
	_, err := p.remote(p.threads[0], "munmap", unix.SYS_MUNMAP, p.region.start, p.region.end-p.region.start)
	p.mapped = p.mapped && err != nil
	return err
}

// returnSignals sends the signals that came meanwhile again, with all that they told. They are delivered when the
// threads go on. A fault of the program itself happens again.
func (p *target) returnSignals() error {
	var errs []error
	for _, t := range p.threads {
		if len(t.keep) > 0 && t.stopped {
			errs = append(errs, p.sendKept(t))
		}
	}
	return errors.Join(errs...)
}

// sendKept has a thread send itself the signals that it has to get: only itself may send what kill(2) and tgkill(2)
// send (kernel/signal.c, do_rt_tgsigqueueinfo).
func (p *target) sendKept(t *thread) error {
	if err := errors.Join(p.leaveGate(t), p.save(t)); err != nil {
		return err
	}
	var errs []error
	for _, info := range t.keep {
		if err := p.mem.Write(p.region.arena, info[:]); err != nil {
			errs = append(errs, p.problem("%w", err))
			continue
		}
		_, err := p.remote(t, "rt_tgsigqueueinfo", unix.SYS_RT_TGSIGQUEUEINFO, uint64(p.view.pid), uint64(t.inner),
			uint64(info.Signo()), p.region.arena)
		errs = append(errs, err)
	}
	t.keep = nil
	if t.tid != p.pid {
		errs = append(errs, p.giveBack(t))
	}
	return errors.Join(errs...)
}

// leaveGate takes all threads except for one off the trampoline, which leads back to where one thread was.
func (p *target) leaveGate(except *thread) error {
	var errs []error
	for _, t := range p.threads {
		if t != except && t.lent {
			errs = append(errs, p.giveBack(t))
		}
	}
	return errors.Join(errs...)
}

// returnActions sets the actions again that faults and breakpoints have reset.
func (p *target) returnActions() error {
	var errs []error
	for _, sig := range p.ignored {
		ignore := changes.Action{}
		binary.LittleEndian.PutUint64(ignore[:], 1) // SIG_IGN
		errs = append(errs, p.setAction(sig, &ignore))
	}
	if p.trap != nil && p.trapped {
		errs = append(errs, p.setAction(unix.SIGTRAP, p.trap))
	}
	return errors.Join(errs...)
}

func (p *target) setAction(sig unix.Signal, action *changes.Action) error {
	if err := p.mem.Write(p.region.arena, action[:]); err != nil {
		return p.problem("%w", err)
	}
	_, err := p.remote(p.threads[0], "rt_sigaction", unix.SYS_RT_SIGACTION, uint64(sig), p.region.arena, 0, 8)
	return err
}

// giveBack gives a thread the registers, signals and extended state that it had. If crpie is killed on the way the
// thread goes on where it stands, which leads it to the same.
func (p *target) giveBack(t *thread) error {
	back := resumed(t.regs, t.slept, t.signalled)
	if !t.stopped || !t.lent && back == t.regs {
		return nil
	}
	var err error
	if t.vectors {
		err = sys.SetXstate(t.tid, t.xstate)
	}
	if err == nil && t.rseqCS.value != 0 {
		err = sys.Poke(t.tid, t.rseqCS.addr, t.rseqCS.value)
	}
	if err == nil && t.lent {
		t.blocked = false
		err = sys.SetSigmask(t.tid, t.mask)
	}
	if err == nil {
		err = sys.SetRegs(t.tid, &back)
	}
	if err != nil {
		return p.problem("%w", err)
	}
	t.lent, t.vectors = false, false
	return nil
}

// closeGate removes the trampoline: nobody stands on it any more.
func (p *target) closeGate() error {
	if p.gate == 0 {
		return nil
	}
	if err := p.mem.Write(p.gate, make([]byte, trampolineSize)); err != nil {
		return p.problem("%w", err)
	}
	p.gate = 0
	return nil
}

// release lets the process go on untraced. Threads that run, because they could not be stopped, do so when the tracer
// ends.
func (p *target) release() error {
	var errs []error
	if p.stop {
		errs = append(errs, sys.Kill(p.pid, unix.SIGSTOP))
	}
	for i := len(p.threads) - 1; i >= 0; i-- {
		t := p.threads[i]
		if !t.stopped {
			continue
		}
		if err := sys.Detach(t.tid); err != nil && !p.ending(t.tid) {
			errs = append(errs, p.problem("%w", err))
		}
	}
	p.notePause()
	if p.mem != nil {
		p.mem.Close()
	}
	return errors.Join(errs...)
}

func (p *target) notePause() {
	if p.report != nil {
		p.report.Paused = time.Since(p.began)
	}
}

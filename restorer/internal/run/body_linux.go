//go:build amd64

package run

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/ended"
	"github.com/crpie/crpie/internal/several"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/host"
	"github.com/crpie/crpie/restorer/internal/plan"
)

// A Body is a process that exists and becomes the root task: what the task has outside of itself, a parent that waits
// and a pid, it has already. It executes the zygote, and is traced from the moment before. internal/become has the only
// one.
type Body interface {
	Pid() int
	// Execute has it execute a zygote with files as its descriptors, which takes so many; trace is called with the
	// thread that will, just before.
	Execute(zygote *os.File, files []*os.File, needed int, trace func(tid int) error) error
}

// body gives the pid of the Body, which has the number that the root task has.
func (r *Runner) body() sys.PID { return sys.PID(r.Opts.Body.Pid()) }

// isBody reports whether pid belongs to the Body that executes the zygote, which is not killed as others are.
func (r *Runner) isBody(pid sys.PID) bool { return r.embodied && pid == r.body() }

// embody lets the body become the zygote.
func (r *Runner) embody(zygote *os.File, files []*os.File) (err error) {
	body, root := r.Opts.Body, r.Plan.Tasks[0]
	if r.root, err = sys.OpenSibling(r.body()); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	var thread sys.PID
	err = body.Execute(zygote, files, r.Plan.Descriptors(), func(tid int) error {
		thread = sys.PID(tid)
		return sys.Seize(thread, seizeOptions(root))
	})
	if err != nil {
		return fmt.Errorf("restore: start the zygote: %w", err)
	}
	r.embodied = true
	return r.awaitExecuted(root, thread)
}

// awaitExecuted waits until thread has become the only one, with the process's pid, PTRACE_EVENT_EXEC of ptrace(2).
func (r *Runner) awaitExecuted(root *plan.Task, thread sys.PID) error {
	for end := r.end(); ; time.Sleep(collectPause) {
		for _, tid := range []sys.PID{r.body(), thread} {
			ws, changed, _ := sys.Poll(tid) // an error: that id is not, or no longer, of a tracee
			switch {
			case !changed:
				continue
			case ws.Exited() || ws.Signaled():
				return fmt.Errorf("restore: start the zygote: process %d ended with wait status %#x",
					root.Pid,
					uint32(ws))
			}
			if err := sys.Continue(tid); err != nil {
				return fmt.Errorf("restore: start the zygote: %w", err)
			}
			if sys.Event(ws) == unix.PTRACE_EVENT_EXEC {
				r.traced = append(r.traced, tracee{root, root.Threads[0], r.body()})
				return nil
			}
		}
		if time.Now().After(end) {
			return fmt.Errorf("restore: process %d does not execute the zygote within %v (--progress-timeout)",
				root.Pid, r.Opts.Limit())
		}
	}
}

// toldToEnd: signals for the body are pending until it is let go. One that would end the restore does so, unless it was
// pending at the dump, or crpie was started to ignore it.
func (r *Runner) toldToEnd() error {
	status := host.ReadProc(fmt.Sprintf("/proc/%d/status", r.Opts.Body.Pid()))
	for line := range strings.Lines(status) {
		name, value, _ := strings.Cut(line, ":")
		if name != "ShdPnd" && name != "SigPnd" {
			continue
		}
		pending, _ := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		for sig := unix.Signal(1); sig <= uapi.NrSignals; sig++ {
			if (pending&^r.Plan.Tasks[0].Queued)>>(sig-1)&1 != 0 && ended.Name(sig) != "" &&
				!signal.Ignored(sig) {
				return fmt.Errorf("restore: %w", ended.By{Signal: sig})
			}
		}
	}
	return nil
}

// moveBody takes the body back from the restore's cgroups, so that they can be removed.
func (r *Runner) moveBody() error {
	if !r.embodied || len(r.Plan.Cgroups) == 0 {
		return nil
	}
	var errs []error
	for _, h := range host.CgroupHierarchies(host.ReadProc("/proc/self/cgroup"),
		host.ReadProc("/proc/self/mountinfo")) {
		if h.Mount == "" {
			continue
		}
		err := os.WriteFile(path.Join(h.Mount, h.Own, "cgroup.procs"), []byte(strconv.Itoa(r.Opts.Body.Pid())),
			0)
		if !errors.Is(err, unix.ESRCH) { // it has ended
			errs = append(errs, err)
		}
	}
	return several.Join(errs...)
}

// giveUp tells of the failure, now that everything else is undone, and ends the body.
func (r *Runner) giveUp(failure error) error {
	if r.Opts.Body == nil {
		return failure
	}
	status := r.Opts.Failed(failure)
	if !r.embodied {
		return failure
	}
	pid := r.body()
	r.exit(pid, status)
	errs := []error{failure, r.root.Kill()} // which changes no status
	for i := len(r.Plan.Tasks[0].Threads) - 1; i >= 0; i-- {
		_, err := Collect(pid, r.tid(r.Plan.Tasks[0].Threads[i]))
		errs = append(errs, err)
	}
	return several.Join(append(errs, r.root.Wait())...)
}

// exit has the traced process pid call exit_group(status), by an instruction of its own program or of the region. Where
// there is none, or another tracer is quicker, it ends by SIGKILL.
func (r *Runner) exit(pid sys.PID, status int) {
	regs, err := sys.GetRegs(pid)
	if err != nil && sys.Interrupt(pid) == nil { // it has not stopped yet
		_, _, _ = sys.WaitUntil(pid, time.Now().Add(freezeTime))
		regs, err = sys.GetRegs(pid)
	}
	insn := syscallInsn(pid)
	if err != nil || insn == 0 {
		return
	}
	regs.Ip, regs.Ax, regs.OrigAx, regs.Di = insn, unix.SYS_EXIT_GROUP, ^uint64(0), uint64(status)
	if sys.SetRegs(pid, &regs) != nil || sys.Continue(pid) != nil {
		return
	}
	for {
		ws, changed, err := sys.WaitUntil(pid, time.Now().Add(freezeTime))
		if err != nil || !changed || !ws.Stopped() || sys.Event(ws) == unix.PTRACE_EVENT_EXIT {
			return
		}
		_ = sys.Continue(pid)
	}
}

// syscallInsn finds a syscall instruction in the memory of a process; 0: there is none.
func syscallInsn(pid sys.PID) uint64 {
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return 0
	}
	defer mem.Close()
	for line := range strings.Lines(host.ReadProc(fmt.Sprintf("/proc/%d/maps", pid))) {
		var start, end uint64
		var prot string
		// not vsyscall
		if n, _ := fmt.Sscanf(line, "%x-%x %s", &start, &end, &prot); n != 3 || prot[2] != 'x' ||
			start > 1<<62 {
			continue
		}
		code := make([]byte, min(end-start, 4<<20))
		n, _ := io.ReadFull(io.NewSectionReader(mem, int64(start), int64(len(code))), code)
		if at := bytes.Index(code[:n], []byte{0x0f, 0x05}); at >= 0 { // SYSCALL, Intel SDM
			return start + uint64(at)
		}
	}
	return 0
}

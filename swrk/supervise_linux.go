//go:build amd64

package swrk

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/graft"
	"github.com/crpie/crpie/internal/several"
	"github.com/crpie/crpie/internal/sys"
)

// task is one of the restored tree. Nothing of the application has run yet, so the tree is as in the images.
type task struct {
	pid    int // here
	handle sys.Pidfd
	status *graft.Supervised // nil: it is not grafted
	begun  bool
	done   bool
}

const (
	glance  = time.Millisecond // between two looks at all tasks
	beat    = time.Second      // between two signs of life for them
	toBegin = 30 * time.Second // for a task to begin with its hooks; CRIU has let it go
	toEnd   = 10 * time.Second // for a killed task
)

// patienceOfTasks is how long a task waits for us before it ends: the runtime may have its time for the last
// notifications, and this process can have been killed.
const patienceOfTasks = time.Minute

// supervise waits until the hooks of all tasks have ended and lets the tasks go. If one fails, none of them goes
// on.
func (r *relay) supervise(ctx context.Context) error {
	if err := r.find(); err != nil {
		return err
	}
	if err := r.watch(ctx); err != nil {
		return err
	}
	for _, t := range r.tree {
		if t.status == nil {
			continue
		}
		if err := t.tell(graft.AnswerOffset, 1); err != nil {
			return err
		}
	}
	r.release()
	r.log.printf("all hooks have run, grafted tasks: %d", len(r.graft.plan.Supervised))
	return nil
}

// watch looks at the tasks until all are done.
func (r *relay) watch(ctx context.Context) error {
	start, sign := time.Now(), uint32(0)
	for {
		if now := uint32(time.Since(start)/beat) + 1; now != sign {
			sign = now
			if err := r.signOfLife(sign); err != nil {
				return err
			}
		}
		done, err := r.look(time.Since(start))
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case p := <-r.fromRuntime:
			p.close()
			if !errors.Is(p.err, io.EOF) {
				return errors.Join(errors.New("the runtime said something before it had an answer"),
					p.err)
			}
			r.fromRuntime = nil // it may have closed its half
		case <-time.After(glance):
		}
	}
}

// signOfLife tells waiting tasks that their supervisor is there.
func (r *relay) signOfLife(sign uint32) error {
	for _, t := range r.tree {
		if t.status == nil {
			continue
		}
		if err := t.tell(graft.WatchedOffset, sign); err != nil {
			return err
		}
	}
	return nil
}

// look reads every status once.
func (r *relay) look(since time.Duration) (done bool, err error) {
	done = true
	for _, t := range r.tree {
		if t.status == nil || t.done {
			continue
		}
		if err := t.look(&r.log); err != nil {
			return false, err
		}
		if !t.begun && since > toBegin {
			return false, fmt.Errorf("task %d has not begun with its hooks after %v; is its cgroup frozen?", t.status.Pid,
				toBegin)
		}
		done = done && t.done
	}
	return done, nil
}

// look reads by process_vm_readv(2) how far the graft's core has come in a task, and then what plugins have logged.
func (t *task) look(log *log) error {
	status, said := make([]byte, graft.StatusSize), make([]byte, graft.SaidSize)
	if err := sys.ReadProcess(sys.PID(t.pid), sys.Span{Addr: t.status.Address, Data: status},
		sys.Span{Addr: t.status.SaidAt, Data: said}); err != nil {
		return t.lost(err)
	}
	lines, taken := t.status.Lines(said)
	for _, line := range lines {
		log.plugin(line)
	}
	state, err := t.status.Read(status)
	t.begun, t.done = state != graft.NotBegun, state == graft.Done
	if err == nil && len(lines) > 0 {
		err = t.write(t.status.TakenAt, binary.LittleEndian.AppendUint64(nil, taken))
	}
	return err
}

// tell writes a word of the status.
func (t *task) tell(offset uint64, word uint32) error {
	return t.write(t.status.Address+offset, binary.LittleEndian.AppendUint32(nil, word))
}

func (t *task) write(at uint64, data []byte) error {
	if err := sys.WriteProcess(sys.PID(t.pid), sys.Span{Addr: at, Data: data}); err != nil {
		return t.lost(err)
	}
	return nil
}

// lost says why a task's memory cannot be reached.
func (t *task) lost(err error) error {
	switch {
	case t.handle.Ended(0):
		return fmt.Errorf("restore task %d: it ended while its hooks ran", t.status.Pid)
	case errors.Is(err, unix.EFAULT):
		return fmt.Errorf("restore task %d: its memory is gone: a hook has unmapped it, or executed another program",
			t.status.Pid)
	}
	return fmt.Errorf("restore task %d: %w", t.status.Pid, err)
}

// find opens all tasks of the tree. A grafted one must be there.
func (r *relay) find() error {
	pids, err := r.outerPids()
	if err != nil {
		return err
	}
	supervised := map[uint32]*graft.Supervised{}
	for _, s := range r.graft.plan.Supervised {
		supervised[s.Pid] = s
	}
	for _, inner := range r.graft.tasks {
		pid, status := pids[inner], supervised[inner]
		if pid == 0 && status != nil {
			return fmt.Errorf("restore task %d: it ended while its hooks ran, or never was", inner)
		}
		if pid == 0 {
			continue // it was a zombie, or has ended by itself
		}
		handle, err := sys.OpenPidfd(sys.PID(pid))
		if _, now := relatives(pid); err == nil && now != inner { // another process has got the number
			handle.Close()
			err = unix.ESRCH
		}
		switch {
		case err == nil:
			r.tree = append(r.tree, &task{pid: pid, handle: handle, status: status})
		case status != nil:
			return fmt.Errorf("restore task %d: it ended while its hooks ran: %w", inner, err)
		}
	}
	return nil
}

// outerPids gives the pids that the tasks have here, by those in the images: descendants of the root task that are
// in its pid namespace.
func (r *relay) outerPids() (map[uint32]int, error) {
	space, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", r.root))
	if err != nil {
		return nil, fmt.Errorf("restore task %d: it ended while its hooks ran: %w", r.graft.tasks[0], err)
	}
	family, err := r.family()
	pids := map[uint32]int{}
	for _, pid := range family {
		if own, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid)); err == nil && own == space {
			_, inner := relatives(pid)
			pids[inner] = pid
		}
	}
	return pids, err
}

// family lists the root task and its descendants.
func (r *relay) family() (all []int, err error) {
	entries, err := os.ReadDir("/proc")
	parents := map[int]int{}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			parents[pid], _ = relatives(pid)
		}
	}
	for pid := range parents {
		if descends(pid, r.root, parents) {
			all = append(all, pid)
		}
	}
	return all, err
}

// descends follows the parents of a process up to another one.
func descends(pid, from int, parents map[int]int) bool {
	for range len(parents) + 1 {
		if pid == from {
			return true
		}
		parent, ok := parents[pid]
		if !ok {
			return false
		}
		pid = parent
	}
	return false
}

// relatives reads the parent of a process, and its pid in its own namespace, proc_pid_status(5).
func relatives(pid int) (parent int, inner uint32) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		words := strings.Fields(value)
		switch {
		case len(words) == 0:
		case name == "PPid":
			parent, _ = strconv.Atoi(words[0])
		case name == "NSpid":
			n, _ := strconv.ParseUint(words[len(words)-1], 10, 32)
			inner = uint32(n)
		}
	}
	return parent, inner
}

// undo kills the restored tree and waits for its end: its first process first, with which a pid namespace ends.
func (r *relay) undo() error {
	if r.root == 0 || dumps(r.kind) {
		return nil
	}
	family, err := r.family() // a hook can have added to it
	errs := []error{err}
	for _, pid := range family {
		handle, err := sys.OpenPidfd(sys.PID(pid))
		switch {
		case err == nil:
			r.tree = append(r.tree, &task{pid: pid, handle: handle})
		case !errors.Is(err, unix.ESRCH): // it has not ended
			errs = append(errs, err, sys.Kill(sys.PID(pid), unix.SIGKILL))
		}
	}
	for _, t := range r.tree {
		errs = append(errs, t.handle.Kill())
	}
	end := time.Now().Add(toEnd)
	for _, t := range r.tree {
		if !t.handle.Ended(max(0, time.Until(end))) {
			errs = append(errs, fmt.Errorf("process %d has not ended within %v of SIGKILL", t.pid, toEnd))
		}
	}
	r.release()
	return several.Join(errs...)
}

func (r *relay) release() {
	for _, t := range r.tree {
		t.handle.Close()
	}
	r.tree = nil
}

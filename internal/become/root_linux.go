package become

import (
	"fmt"
	"os"
	"strconv"
	"syscall"

	"github.com/crpie/crpie/internal/several"
	"github.com/crpie/crpie/internal/sys"
)

// Root is the first process, which will be the root task; the controller has it.
type Root struct {
	channel sys.Channel
	pid     int
	ready   chan int // the thread that will execute; closed when the process has executed or ended
}

// Control gives the first process if this one is the controller, and nil otherwise.
func Control() (*Root, error) {
	text := os.Getenv(controlling)
	if text == "" || sys.Secure() {
		return nil, nil
	}
	os.Unsetenv(controlling)
	number, err := strconv.Atoi(text)
	if err != nil {
		return nil, fmt.Errorf("%s=%q: %w", controlling, text, err)
	}
	channel, err := sys.Inherit(number)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", controlling, err)
	}
	pid, err := channel.Peer()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", controlling, err)
	}
	return &Root{channel, pid, make(chan int, 1)}, nil
}

// Pid gives the process's pid.
func (r *Root) Pid() int { return r.pid }

// Listen calls got with each signal that the process gets as long as it is crpie, and ended if it ends before it
// executes.
func (r *Root) Listen(got func(syscall.Signal)) {
	go func() {
		defer close(r.ready)
		for {
			m, err := receive(r.channel)
			switch {
			case err != nil:
				return
			case m.kind == signal:
				got(syscall.Signal(m.value))
			case m.kind == ready:
				r.ready <- m.value
			}
		}
	}()
}

// Execute has the process execute a zygote with files as its descriptors 0, 1, …, of which it has the first three
// itself; a number whose file is nil is closed. needed is how many descriptors that takes. trace is called with the
// thread that will execute, just before.
func (r *Root) Execute(zygote *os.File, files []*os.File, needed int, trace func(tid int) error) error {
	if err := r.send(zygote, files, needed); err != nil {
		return fmt.Errorf("process %d: %w", r.pid, err)
	}
	tid, ok := <-r.ready
	if !ok {
		return fmt.Errorf("process %d, which was to become the root task, has ended", r.pid)
	}
	if err := trace(tid); err != nil {
		return err
	}
	if err := send(r.channel, &message{kind: execute}); err != nil {
		return fmt.Errorf("process %d: %w", r.pid, err)
	}
	return nil
}

// send asks for room first: received descriptors count against RLIMIT_NOFILE. They go in several messages, because one
// holds at most SCM_MAX_FD of them, unix(7).
func (r *Root) send(zygote *os.File, files []*os.File, needed int) error {
	errs := []error{send(r.channel, &message{kind: room, value: needed})}
	batch := &message{kind: take}
	add := func(number int, f *os.File) {
		batch.numbers, batch.fds = append(batch.numbers, number), append(batch.fds, int(f.Fd()))
		if len(batch.fds) == sys.MaxPassed {
			errs = append(errs, send(r.channel, batch))
			batch = &message{kind: take}
		}
	}
	for number, f := range files {
		if number > 2 && f != nil {
			add(number, f)
		}
	}
	add(program, zygote)
	errs = append(errs, send(r.channel, batch), send(r.channel, &message{kind: prepare}))
	return several.Join(errs...)
}

// End has the process exit with a status, if it is still crpie.
func (r *Root) End(status int) { _ = send(r.channel, &message{kind: end, value: status}) }

package sys

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// First is the first process of a pid namespace that has been made for others: restorer/core/src/init.c is its program.
// It is a child of whoever collects this process's orphans.
type First struct {
	PID     PID
	process Pidfd
	line    Channel
}

// StartFirst has path, which is that program, make a pid namespace. As long as Release has not been called, it ends
// with this process, or when it is closed. The thread must be locked, as for Start.
func StartFirst(path string) (*First, error) {
	own, its, err := NewChannel()
	if err != nil {
		return nil, err
	}
	end := os.NewFile(uintptr(its.fd), "first process")
	starter, err := Start(path, []string{"crpie-init", "/"}, []*os.File{end})
	end.Close()
	if err != nil {
		own.Close()
		return nil, err
	}
	own.awaitOf(starter)
	f, err := meetFirst(own)
	_ = Kill(starter, unix.SIGKILL)
	_, _, _ = wait(starter, 0)
	return f, err
}

// awaitOf waits for a message, and lets the child that is to send it go on should somebody stop it. Should somebody
// kill it neither a message nor the end comes: what it has cloned holds the other end, too.
func (c Channel) awaitOf(starter PID) {
	const patience = 50 // milliseconds
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLIN}}, patience)
		if n > 0 || err != nil && err != unix.EINTR {
			return
		}
		if Ending(starter) {
			_ = unix.Shutdown(c.fd, unix.SHUT_RD) // a message that is here is still read
			return
		}
		_ = Kill(starter, unix.SIGCONT)
	}
}

// meetFirst learns the process's number while its parent exists, so that no other can have it.
func meetFirst(line Channel) (*First, error) {
	answer := make([]byte, 4)
	n, _, err := line.Receive(answer)
	switch result := int32(binary.LittleEndian.Uint32(answer)); {
	case errors.Is(err, io.EOF) || err == nil && n != len(answer):
		err = errors.New("it has ended before it began")
	case err == nil && result < 0:
		err = fmt.Errorf("clone3 CLONE_NEWPID: %w", unix.Errno(-result))
	}
	f := &First{PID: PID(int32(binary.LittleEndian.Uint32(answer))), line: line}
	if err == nil {
		if f.process, err = OpenPidfd(f.PID); err != nil {
			endFirst(f.PID)
		}
	}
	if err != nil {
		line.Close()
		return nil, err
	}
	return f, nil
}

// endFirst kills the process while its parent exists, which has the kernel collect it at once.
func endFirst(pid PID) {
	for unix.Kill(int(pid), unix.SIGKILL) == nil {
		nap(shortPause)
	}
}

// Release says that the process with a number in the namespace is going to run: the first process ends when this one,
// and all others, have ended.
func (f *First) Release(root int) error {
	return f.line.Send(binary.LittleEndian.AppendUint32(nil, uint32(root)))
}

// Kill kills everything in the namespace, pid_namespaces(7).
func (f *First) Kill() error { return f.process.Kill() }

// AwaitEnd waits until the process has ended: before that all others in the namespace have been collected by their
// parents.
func (f *First) AwaitEnd() error {
	err := f.process.AwaitEnd()
	f.collect()
	return err
}

// Ended waits for at most the given time, and reports whether the process has ended.
func (f *First) Ended(within time.Duration) bool {
	ended := f.process.Ended(within)
	if ended {
		f.collect()
	}
	return ended
}

// collect: whoever collects orphans may be this process.
func (f *First) collect() { _, _, _ = Poll(f.PID) }

// Alone reports whether the process has no children: orphans in the namespace become its own.
func (f *First) Alone() bool { return len(Children(f.PID)) == 0 }

// Close forgets the process. One that has not been released ends.
func (f *First) Close() {
	f.process.Close()
	f.line.Close()
}

// bornIn has the processes that the calling thread makes be born in the namespace, setns(2), until undo is called: a
// thread must be back before it makes threads.
func (f *First) bornIn() (undo func() error, err error) {
	if err := fault("setns"); err != nil {
		return nil, fmt.Errorf("setns CLONE_NEWPID: %w", err)
	}
	own, err := os.Open("/proc/thread-self/ns/pid")
	if err != nil {
		return nil, err
	}
	if err := unix.Setns(f.process.fd, unix.CLONE_NEWPID); err != nil {
		own.Close()
		return nil, fmt.Errorf("setns CLONE_NEWPID: %w", err)
	}
	return func() error {
		defer own.Close()
		err := unix.Setns(int(own.Fd()), unix.CLONE_NEWPID)
		if err == nil {
			err = fault("setns back") // the call is made: elsewhere the thread could not make others
		}
		if err != nil {
			return fmt.Errorf("setns CLONE_NEWPID: %w", err)
		}
		return nil
	}, nil
}

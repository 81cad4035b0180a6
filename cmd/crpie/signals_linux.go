//go:build linux && amd64

package main

import (
	"context"
	"os"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/ended"
	"github.com/crpie/crpie/internal/sys"
)

// A relay decides what becomes of the signals that crpie gets while it restores and while it waits. Until the restored
// process runs, those that would end crpie end the restore; everything else waits. From then on the process gets them.
type relay struct {
	signals chan os.Signal
	catches chan struct{} // closed when all of them are caught
	ended   context.CancelCauseFunc

	idle    chan struct{} // closed when there is nothing left to pass on
	mu      sync.Mutex
	other   func(unix.Signal) // gets them instead, if it is set
	goOn    chan<- struct{}   // gets a value for SIGCONT, while a hook waits
	root    int               // the process that gets them, 0: none yet
	kept    []unix.Signal
	stopped bool
}

// startRelay gives a context that ends with a signal, once await has returned.
func startRelay() (*relay, context.Context) {
	ctx, cancel := context.WithCancelCause(context.Background())
	r := &relay{signals: make(chan os.Signal, 64), catches: make(chan struct{}), ended: cancel,
		idle: make(chan struct{})}
	go r.catch()
	go func() {
		for sig := range r.signals {
			r.got(sig.(unix.Signal))
		}
		close(r.idle)
	}()
	return r, ctx
}

// catch has the signals come here. What crpie was started to ignore, by nohup(1) or as a shell's job in the background,
// it goes on to ignore. For each signal the Go runtime switches to the main thread and back (sigenable), which together
// takes 4 % of a small restore: images are read meanwhile.
func (r *relay) catch() {
	for _, sig := range []os.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGPIPE,
		unix.SIGUSR1, unix.SIGUSR2, unix.SIGCONT, unix.SIGTSTP} {
		if !signal.Ignored(sig) {
			signal.Notify(r.signals, sig)
		}
	}
	close(r.catches)
}

// await waits until the signals are caught. Until then they have their default effects, so that nothing may be made
// that would have to be undone.
func (r *relay) await() { <-r.catches }

// got handles a signal: it undoes the restore, or goes on to the restored task.
func (r *relay) got(sig unix.Signal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.stopped:
		return
	case sig == unix.SIGCONT && r.goOn != nil:
		offer(r.goOn)
		return
	case r.other != nil:
		r.other(sig)
		return
	case r.root != 0:
		r.pass(sig)
		return
	}
	r.kept = append(r.kept, sig)
	if ended.Name(sig) != "" {
		r.ended(ended.By{Signal: sig})
	}
}

// forward hands the signals to a function, also the ones that came already.
func (r *relay) forward(to func(unix.Signal)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.other = to
	for _, sig := range r.kept {
		to(sig)
	}
}

// drain passes on the signals that came. From now on a signal has its default effect.
func (r *relay) drain() {
	signal.Stop(r.signals)
	close(r.signals)
	<-r.idle
}

// leave gives a restored process the signals that came too late to end its restore.
func (r *relay) leave(root int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
	for _, sig := range r.kept {
		if sig != unix.SIGPIPE {
			_ = unix.Kill(root, sig)
		}
	}
}

// to has a process get the signals, also those that came too late to end its restore.
func (r *relay) to(root int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.root = root
	for _, sig := range r.kept {
		r.pass(sig)
	}
}

// pass sends a signal on, unless the process has it from the terminal already. A stopped process has no use for a
// crpie that a shell waits for: both stop.
func (r *relay) pass(sig unix.Signal) {
	terminals := sig == unix.SIGINT || sig == unix.SIGQUIT || sig == unix.SIGTSTP
	group, _ := unix.Getpgid(r.root)
	if sig != unix.SIGPIPE && !(terminals && group == unix.Getpgrp()) { // SIGPIPE is about crpie's own log
		_ = unix.Kill(r.root, sig)
	}
	if sig == unix.SIGTSTP {
		_ = unix.Kill(os.Getpid(), unix.SIGSTOP)
	}
}

// stop ends the passing on. Signals go on to be caught, because how the restore ended is decided.
func (r *relay) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
}

// waitFor passes signals on to the restored process until it has ended, and tells how. As the first process of a pid
// namespace crpie also collects the orphans there, pid_namespaces(7).
func (r *relay) waitFor(pid int) (status int, err error) {
	r.to(pid)
	root := sys.PID(pid)
	for who := sys.Nobody; who != root; {
		if who, err = sys.AwaitEnd(root, os.Getpid() == 1); err != nil {
			return 0, err
		}
		if who == root {
			r.stop() // as long as it has not been collected, no other process can have its pid
		}
		ws, err := sys.Wait(who)
		switch {
		case err != nil:
			return 0, err
		case ws.Signaled():
			status = ended.SignalStatus(ws.Signal())
		default:
			status = ws.ExitStatus()
		}
	}
	return status, nil
}

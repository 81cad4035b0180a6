//go:build linux && amd64

package main

import (
	"context"
	"os"
	"os/signal"
	"slices"
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
	roots   []int             // the processes that get them; none yet
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
	case r.roots != nil:
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

// to has processes get the signals, also those that came too late to end their restore.
func (r *relay) to(roots []int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.roots = slices.Clone(roots)
	for _, sig := range r.kept {
		r.pass(sig)
	}
}

// pass sends a signal on, unless a process has it from the terminal already. A stopped process has no use for a
// crpie that a shell waits for: both stop.
func (r *relay) pass(sig unix.Signal) {
	terminals := sig == unix.SIGINT || sig == unix.SIGQUIT || sig == unix.SIGTSTP
	for _, root := range r.roots {
		group, _ := unix.Getpgid(root)
		if sig != unix.SIGPIPE && !(terminals && group == unix.Getpgrp()) { // SIGPIPE is about crpie's own log
			_ = unix.Kill(root, sig)
		}
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

// forget ends the passing on to a process that has ended. As long as it has not been collected, no other can have its
// pid. When none is left signals go on to be caught, because how the restore ended is decided.
func (r *relay) forget(root int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.roots = slices.DeleteFunc(r.roots, func(pid int) bool { return pid == root })
	r.stopped = len(r.roots) == 0
}

// waitFor passes signals on to restored processes until all have ended, and tells how, by their pids. As the first
// process of a pid namespace crpie also collects the orphans there, pid_namespaces(7).
func (r *relay) waitFor(pids ...int) (statuses map[int]int, err error) {
	r.to(pids)
	statuses = map[int]int{}
	for len(statuses) < len(pids) {
		who, err := sys.AwaitEnd(sys.PID(pids[0]), os.Getpid() == 1 || len(pids) > 1)
		if err != nil {
			return nil, err
		}
		r.forget(int(who))
		ws, err := sys.Wait(who)
		if err != nil {
			return nil, err
		}
		if slices.Contains(pids, int(who)) {
			statuses[int(who)] = statusOf(ws)
		}
	}
	return statuses, nil
}

// statusOf gives the exit status of a process as shells do.
func statusOf(ws unix.WaitStatus) int {
	if ws.Signaled() {
		return ended.SignalStatus(ws.Signal())
	}
	return ws.ExitStatus()
}

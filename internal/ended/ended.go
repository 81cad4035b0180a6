// Package ended is about commands that a signal ends, and that undo what they were at first.
package ended

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
)

// signals end the work of crpie, which is undone. A map would be made at every start of crpie.
var signals = [...]syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGPIPE}

var names = [...]string{"SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGPIPE"}

// Name spells a signal that ends a command; any other is "".
func Name(sig os.Signal) string {
	for i, s := range signals {
		if s == sig {
			return names[i]
		}
	}
	return ""
}

// By is the signal that ended a command.
type By struct{ syscall.Signal }

func (e By) Error() string { return "ended by " + Name(e.Signal) }

// Status is the exit status of a command that failed: as if the signal that ended it had had its way, or else failed.
func Status(err error, failed int) int {
	var by By
	if errors.As(err, &by) {
		return SignalStatus(by.Signal)
	}
	return failed
}

// SignalStatus is the exit status that shells give for a command that a signal has ended.
func SignalStatus(sig syscall.Signal) int { return 128 + int(sig) }

// Until does something that a signal ends; what it has made is gone when it returns. A second signal does not wait
// for that.
func Until(do func(ctx context.Context) error) error {
	ctx, end := context.WithCancelCause(context.Background())
	came := make(chan os.Signal, 1)
	for _, sig := range signals {
		if !signal.Ignored(sig) {
			signal.Notify(came, sig)
		}
	}
	defer signal.Stop(came)
	go func() {
		select {
		case sig := <-came:
			signal.Stop(came)
			end(By{sig.(syscall.Signal)})
		case <-ctx.Done():
		}
	}()
	defer end(nil)
	return do(ctx)
}

// AtOnce does what leaves nothing to undo, and which SIGQUIT ends like any other signal: Go by itself prints the
// stacks of its goroutines and exits with status 2.
func AtOnce(do func() (status int)) (status int) {
	quit, done := make(chan os.Signal, 1), make(chan int, 1)
	if !signal.Ignored(syscall.SIGQUIT) {
		signal.Notify(quit, syscall.SIGQUIT)
	}
	defer signal.Stop(quit)
	go func() { done <- do() }()
	select {
	case status = <-done:
		return status
	case <-quit:
		return SignalStatus(syscall.SIGQUIT)
	}
}

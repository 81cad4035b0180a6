//go:build faults

package sys

import "sync/atomic"

// faults is the installed injector; nil almost always.
var faults atomic.Pointer[func(call string) error]

// Faults installs f, which is asked by name before each system call with which a restore goes forward; an error that it
// returns is reported as the call's own and the call is not made. It returns a function that removes f again.
func Faults(f func(call string) error) (remove func()) {
	faults.Store(&f)
	return func() { faults.Store(nil) }
}

func fault(call string) error {
	if f := faults.Load(); f != nil {
		return (*f)(call)
	}
	return nil
}

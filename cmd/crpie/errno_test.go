//go:build linux && amd64

package main

import (
	"strconv"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// A hook that calls libc keeps errno of the threads that it has interrupted, in a live process and in a restore.
func TestHooksKeepErrno(t *testing.T) {
	plugin := testenv.Plugin(t, "testdata/plugins/seterrno.c")
	victim := testenv.Start(t, "errno")
	if status, _, stderr := apart(t, "try", "-p", strconv.Itoa(victim.Pid), plugin+",keep=1"); status != 0 {
		t.Errorf("status %d\n%s", status, stderr)
	}
	im := victim.Dump(t)
	p, _ := restore(t, im, "--pie-plugin", plugin+",keep=1")
	p.MustPass(t)
}

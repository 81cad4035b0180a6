package graft

import (
	"encoding/binary"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/report"
	"github.com/crpie/crpie/stage"
)

// A failed hook of a grafted task is the same error as one of package restorer, whatever the status claims.
func TestFailedHookOfAStatus(t *testing.T) {
	opts := options(t)
	opts.Plugins, opts.Patience = []Plugin{plugin(t, "PRE_SIGRETURN")}, time.Second
	plan, err := New(open(t, sample(t, "glibc")), opts)
	if err != nil {
		t.Fatal(err)
	}
	s := plan.Supervised[0]
	hooks := binary.LittleEndian.Uint64(s.image.Bytes(s.image.Table+abi.TableHooksOff, 8))
	fn := binary.LittleEndian.Uint64(s.image.Bytes(blob.Addr(hooks+abi.TableHookFnOff), 8))
	for name, tc := range map[string]struct {
		status abi.GraftStatus
		where  string
		cause  string
		errno  syscall.Errno
	}{
		"returned": {abi.GraftStatus{Kind: abi.GraftReturned, Number: -5, Fn: fn},
			"at_PRE_SIGRETURN+0x0", "returned -5", syscall.EIO},
		"crashed": {abi.GraftStatus{Kind: abi.GraftCrashed, Number: 11, Fn: fn, Ip: fn + 1},
			"at_PRE_SIGRETURN+0x1", "crashed with signal 11 at address 0x0", 0},
		"forged": {abi.GraftStatus{Kind: abi.GraftReturned, Number: -1 << 63, Fn: 1, Plugin: 1 << 31},
			"outside the blob at 0x1", "returned -9223372036854775808", 0},
	} {
		tc.status.State, tc.status.Hook, tc.status.Tid = uint32(abi.GraftFailed), uint32(stage.PreSigreturn), 7
		words, err := binary.Append(nil, binary.LittleEndian, tc.status)
		if err != nil {
			t.Fatal(err)
		}
		state, err := s.Read(words)
		var hook *report.HookError
		if !errors.As(err, &hook) || state != Failed {
			t.Errorf("%s: state %d, %v", name, state, err)
			continue
		}
		if hook.Where != tc.where || hook.Cause != tc.cause || hook.Errno != tc.errno || hook.Tid != 7 ||
			hook.Hook != stage.PreSigreturn {
			t.Errorf("%s: %+v", name, hook)
		}
	}
}

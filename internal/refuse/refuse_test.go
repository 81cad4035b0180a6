package refuse

import (
	"fmt"
	"testing"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/refusal"
)

func thread() *pb.CoreEntry {
	return &pb.CoreEntry{
		Mtype: pb.CoreEntry_X86_64.Enum(),
		ThreadInfo: &pb.ThreadInfoX86{
			Gpregs: &pb.UserX86RegsEntry{Mode: pb.UserX86RegsMode_NATIVE.Enum()},
			Fpregs: &pb.UserX86FpregsEntry{Xsave: &pb.UserX86XsaveEntry{}},
		},
	}
}

// Restores and grafts refuse the same threads; only the verb differs.
func TestThreads(t *testing.T) {
	for name, tc := range map[string]struct {
		change    func(c *pb.CoreEntry)
		verb      refusal.Verb
		registers bool
		want      string
	}{
		"native": {func(*pb.CoreEntry) {}, refusal.Restore, true, "<nil>"},
		"machine": {func(c *pb.CoreEntry) { c.Mtype = pb.CoreEntry_AARCH64.Enum() }, refusal.Restore, false,
			"cannot restore: task 7: machine AARCH64: only x86-64 tasks can be restored"},
		"no registers": {func(c *pb.CoreEntry) { c.ThreadInfo = nil }, refusal.Graft, false,
			"cannot graft: task 7: machine X86_64: only x86-64 tasks can be grafted"},
		"compat": {func(c *pb.CoreEntry) {
			c.ThreadInfo.Gpregs.Mode = pb.UserX86RegsMode_COMPAT.Enum()
		}, refusal.Graft, true,
			"cannot graft: task 7: 32-bit (compat) task: not supported"},
		"shadow stack": {func(c *pb.CoreEntry) {
			c.ThreadInfo.Fpregs.Xsave.Cet = &pb.UserX86CetEntry{Cet: pb.Uint64(1), Ssp: pb.Uint64(8)}
		}, refusal.Restore, true, "cannot restore: task 7: user shadow stack: not supported\n" +
			"  hint: run the program with GLIBC_TUNABLES=glibc.cpu.x86_shstk=off before dumping"},
	} {
		t.Run(name, func(t *testing.T) {
			core, c := thread(), Collector{Verb: tc.verb}
			tc.change(core)
			if got := c.Thread("task 7", core); got != tc.registers || fmt.Sprint(c.Err()) != tc.want {
				t.Errorf("got %v, %v; want %v, %s", got, c.Err(), tc.registers, tc.want)
			}
		})
	}
}

// What is said of several tasks or threads is said once; what is said of their descriptors is not the same.
func TestMergeTasks(t *testing.T) {
	c := Collector{}
	for _, where := range []string{"task 1", "task 2", "task 1 thread 3", "task 2 fd 3", "task 7", "task 7 fd 3",
		"task 7 thread 9", "mount 1", "mount 2", "task x", "task y"} {
		c.Refuse(where, "", "bad")
	}
	c.Refuse("task 8", "", "worse")
	c.MergeTasks()
	want := "cannot restore, for 9 reasons:\ntask 1 (and 2 more): bad\ntask 1 thread 3 (and 1 more): bad\n" +
		"task 2 fd 3: bad\ntask 7 fd 3: bad\nmount 1: bad\nmount 2: bad\ntask x: bad\ntask y: bad\ntask 8: worse"
	if got := c.Err().Error(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// All problems come together, in the order in which they were found.
func TestSeveral(t *testing.T) {
	c := Collector{Verb: refusal.Graft}
	c.Refuse("task 1", "try %", "one of %d", 2)
	c.Refuse("task 2", "", "another")
	want := "cannot graft, for 2 reasons:\ntask 1: one of 2\n  hint: try %\ntask 2: another"
	if c.Len() != 2 || c.Err().Error() != want {
		t.Errorf("got %v, want %s", c.Err(), want)
	}
}

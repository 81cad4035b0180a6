package planner

import (
	"slices"
	"testing"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/host/hosttest"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// Where mlock(2) cannot fault every page in it says ENOMEM of memory that it has locked all the same. On CPUs with
// protection keys that is so of memory that may only be executed (pkeys(7)).
func TestLockWithoutReading(t *testing.T) {
	for _, tc := range []struct {
		prot    uint32
		guarded bool
		mayFail bool
	}{
		{uapi.ProtRead | uapi.ProtWrite, false, false}, {uapi.ProtWrite, false, false},
		{uapi.ProtRead | uapi.ProtExec, false, false},
		{uapi.ProtExec, false, true}, {0, false, true}, {uapi.ProtRead | uapi.ProtWrite, true, true},
	} {
		dir := openSample(t, sampleFS(t, "static"))
		task := dir.Tasks[0]
		v := task.Mm.Vmas[slices.IndexFunc(task.Mm.Vmas, func(v *pb.VmaEntry) bool {
			return v.GetStatus()&images.VmaAnonPrivate != 0
		})]
		v.Prot, v.Flags = pb.Uint32(tc.prot), pb.Uint32(v.GetFlags()|uapi.MapLocked)
		if tc.guarded {
			g := pb.Clone(v)
			g.Status, g.End = pb.Uint32(images.VmaGuard), pb.Uint64(v.GetStart()+memory.PageSize)
			task.Guards = append(task.Guards, g)
		}
		plan, err := buildSample(t, dir, hosttest.New(dir), &job.Options{})
		if err != nil {
			t.Fatal(err)
		}
		locks := 0
		for _, op := range plan.Tasks[0].Threads[0].Ops {
			if op.Code == abi.OpSyscall && op.Nr == uapi.SysMlock && op.Args[0] == v.GetStart() {
				locks++
				if mayFail := op.Flags&abi.OpMayFail != 0; mayFail != tc.mayFail {
					t.Errorf("protection %d, guarded %v: mlock may fail: %v, want %v", tc.prot,
						tc.guarded, mayFail, tc.mayFail)
				}
			}
		}
		if locks != 1 {
			t.Errorf("protection %d: locked %d times", tc.prot, locks)
		}
	}
}

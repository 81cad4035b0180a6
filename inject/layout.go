package inject

import (
	"errors"
	"time"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/inject/core"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/taskview"
	"github.com/crpie/crpie/loader"
)

// region is the memory that a process lends while hooks run. All of it is reserved at once, so that no mapping that a
// hook makes comes to lie between.
//
//	start   blob: core, plugins, hook table   R-X, R--, RW-
//	guard                                     ---
//	stack   of the one thread that runs       RW-
//	frame   by which it leaves by itself      RW-
//	arena   struct crpie_ctx, what it shows   RW-
//	end
type region struct {
	start, guard, stack, frame, arena, end uint64
}

const (
	stackSize   = abi.StackSlot - abi.StackGuard
	frameSize   = 16 << 10 // the extended state with AMX takes 11 KiB
	contextSize = memory.PageSize
	regsOff     = contextSize / 2 // struct crpie_regs, behind the context
)

// layRegion lays the region out. The arena begins with the context of the call that runs.
func layRegion(start, blobSize uint64) region {
	r := region{start: start, guard: start + memory.PageUp(blobSize)}
	r.stack = r.guard + abi.StackGuard
	r.frame = r.stack + stackSize
	r.arena = r.frame + frameSize
	return r
}

// regs is where the registers of the thread that runs a hook are.
func (r *region) regs() uint64 { return r.arena + regsOff }

// describes is where what all contexts show begins.
func (r *region) describes() uint64 { return r.arena + contextSize }

// inGuard reports whether an address is below the stack.
func (r *region) inGuard(addr uint64) bool { return addr >= r.guard && addr < r.stack }

// layBlob loads the core and lays it out with the plugins.
func layBlob(plugins []blob.Input) (*blob.Layout, error) {
	c, err := loader.Parse(core.Object, "inject_amd64.o", loader.Options{Core: true})
	if err != nil {
		return nil, err
	}
	return blob.NewLayout(c, plugins)
}

// stubProgram gives the code of the program that waits to be traced, and how far into it a system call lies.
func stubProgram() (code []byte, call uint64, err error) {
	s, err := loader.Parse(core.Stub, "stub_amd64.o", loader.Options{Core: true})
	if err != nil {
		return nil, 0, err
	}
	at, ok := s.Lookup("stub_syscall")
	if !ok || at.Section < 0 {
		return nil, 0, errors.New("stub_amd64.o has no stub_syscall")
	}
	return s.Sections[at.Section].Data, uint64(at.Value), nil
}

// view is what hooks are told of their process.
type view struct {
	pid, threads int // in its own pid namespace
	comm         string
	vmas         []taskview.VMA
	mm           taskview.MM
	timers       []abi.Timer // that there may be
	now          time.Time
}

// lay lays it out and gives the context that all calls have in common.
func (v *view) lay(a *memory.Arena, log uint64) abi.Ctx {
	ctx := abi.Ctx{
		Size: abi.CtxSize, ABI: abi.Version, Pid: int32(v.pid), NrThreads: uint32(v.threads),
		DumpTimeNs: v.now.UnixNano(), RestoreTimeNs: v.now.UnixNano(),
		Comm: a.String(v.comm), VMAs: taskview.LayVMAs(a, v.vmas), NrVMAs: uint64(len(v.vmas)),
		MM: v.mm.Lay(a), Log: log,
	}
	ctx.VMAMadv = ctx.VMAs + ctx.NrVMAs*abi.VMASize
	ctx.Timers = memory.Records(a, v.timers)
	return ctx
}

// regionSize bounds a region for a process of that many mappings, bytes.
func regionSize(blobSize uint64, v *view) uint64 {
	a := memory.NewArena(0)
	v.lay(a, 0)
	r := layRegion(0, blobSize)
	return r.describes() + memory.PageUp(a.End())
}

// span is all of the region.
func (r *region) span() memory.Span { return memory.Span{Start: r.start, End: r.end} }

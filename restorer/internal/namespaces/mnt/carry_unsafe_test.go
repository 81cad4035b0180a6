//go:build linux && amd64

package mnt

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/restorer/internal/plan"
)

// carryOut does what the first process would do; the numbers that it would have are high ones here.
func carryOut(p *Plan) error {
	const room, firstNumber = 1 << 20, 300
	mem, err := unix.Mmap(-1, 0, room, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return err
	}
	defer unix.Munmap(mem)
	prog := &plan.Program{Arena: memory.NewArena(uint64(uintptr(unsafe.Pointer(&mem[0]))))}
	next := firstNumber
	number := func() int { next++; return next }
	pass := func(_ string, open func() (*os.File, error)) int {
		n := number()
		f, err2 := open()
		if err2 == nil {
			err2 = unix.Dup3(int(f.Fd()), n, unix.O_CLOEXEC)
			f.Close()
		}
		if err2 != nil {
			err = err2
		}
		return n
	}
	p.Operations(prog, pass, number)
	defer func() {
		for ; next > firstNumber; next-- {
			unix.Close(next)
		}
	}()
	if copy(mem, prog.Arena.Contents()); err != nil {
		return err
	}
	for _, op := range prog.Ops {
		a := op.Args
		r, _, errno := unix.Syscall6(uintptr(op.Nr), uintptr(a[0]), uintptr(a[1]), uintptr(a[2]), uintptr(a[3]),
			uintptr(a[4]), uintptr(a[5]))
		if errno != 0 {
			return fmt.Errorf("%s: %s: %w", op.What, op.String(), errno)
		}
		if op.Flags&abi.OpFD != 0 {
			err := unix.Dup3(int(r), int(op.Want), unix.O_CLOEXEC)
			if unix.Close(int(r)); err != nil {
				return err
			}
		}
	}
	return nil
}

package sys

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/memory"
)

// Rlimits gives the soft and hard limits of this process by number, getrlimit(2). The soft RLIMIT_NOFILE is what the Go
// runtime raised it to.
func Rlimits(count int) ([][2]uint64, error) {
	all := make([][2]uint64, count)
	for resource := range all {
		var l unix.Rlimit
		if err := unix.Prlimit(0, resource, nil, &l); err != nil {
			return nil, fmt.Errorf("prlimit %d: %w", resource, err)
		}
		all[resource] = [2]uint64{l.Cur, l.Max}
	}
	return all, nil
}

// RoomForFiles has this process open count files more, or have descriptors with numbers up to count, setrlimit(2).
// restore goes back to the limits of before.
func RoomForFiles(count int) (restore func(), err error) {
	var before unix.Rlimit
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, nil, &before); err != nil {
		return nil, fmt.Errorf("prlimit: %w", err)
	}
	need := uint64(highestDescriptor() + 1 + count)
	if before.Cur >= need {
		return func() {}, nil
	}
	room := unix.Rlimit{Cur: need, Max: max(need, before.Max)}
	// see prlimit(2), proc_sys_fs(5) for fs.nr_open
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, &room, nil); err != nil {
		return nil, fmt.Errorf("raise RLIMIT_NOFILE from %d to %d: %w", before.Max, need, err)
	}
	return func() { _ = unix.Prlimit(0, unix.RLIMIT_NOFILE, &before, nil) }, nil
}

// highestDescriptor is 0 where /proc is not mounted.
func highestDescriptor() (highest int) {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return 0
	}
	defer dir.Close()
	open, _ := dir.Readdirnames(-1)
	for _, name := range open {
		if fd, err := strconv.Atoi(name); err == nil {
			highest = max(highest, fd)
		}
	}
	return highest
}

// clock reads a clock in nanoseconds; 0: there is none of that number.
func clock(id int32) int64 {
	var ts unix.Timespec
	if unix.ClockGettime(id, &ts) != nil {
		return 0
	}
	return ts.Nano()
}

// Monotonic reads CLOCK_MONOTONIC, ns.
func Monotonic() int64 { return clock(unix.CLOCK_MONOTONIC) }

// Boottime reads CLOCK_BOOTTIME, ns.
func Boottime() int64 { return clock(unix.CLOCK_BOOTTIME) }

// Nice is this process's nice value, getpriority(2): the raw system call gives 20 minus it.
func Nice() int {
	raw, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		return 0
	}
	return 20 - raw
}

// SchedPolicy is this thread's scheduling policy, sched_getscheduler(2).
func SchedPolicy() int {
	policy, _, errno := unix.RawSyscall(unix.SYS_SCHED_GETSCHEDULER, 0, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(policy)
}

// Personality is this process's, personality(2).
func Personality() uint32 {
	const query = 0xffffffff
	persona, _, errno := unix.RawSyscall(unix.SYS_PERSONALITY, query, 0, 0)
	if errno != 0 {
		return 0
	}
	return uint32(persona)
}

// THPDisabled reports whether this process has no transparent huge pages, prctl(2) PR_GET_THP_DISABLE.
func THPDisabled() bool {
	disabled, err := unix.PrctlRetInt(unix.PR_GET_THP_DISABLE, 0, 0, 0, 0)
	return err == nil && disabled != 0
}

// Droppable reports whether the kernel has MAP_DROPPABLE, mmap(2), Linux 6.11.
func Droppable() bool {
	b, err := unix.Mmap(-1, 0, memory.PageSize, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_DROPPABLE|unix.MAP_ANONYMOUS)
	if err != nil {
		return false
	}
	return unix.Munmap(b) == nil
}

// IsTerminal reports whether descriptor fd is a terminal, tty_ioctl(4).
func IsTerminal(fd int) bool {
	_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	return err == nil
}

// Inherited reports whether a descriptor was open when this program was executed: what it opens itself is closed by
// execve(2).
func Inherited(fd int) bool {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil && flags&unix.FD_CLOEXEC == 0
}

// Secure reports AT_SECURE of getauxval(3): this program has more rights than its caller, whose environment it must not
// trust.
func Secure() bool {
	vector, err := unix.Auxv()
	if err != nil {
		return true
	}
	const atSecure = 23 // uapi/linux/auxvec.h
	return slices.Contains(vector, [2]uintptr{atSecure, 1})
}

// Kernel names the kernel, its release, version and machine, uname(2).
func Kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err.Error()
	}
	var words []string
	for _, field := range [][65]byte{u.Sysname, u.Release, u.Version, u.Machine} {
		words = append(words, unix.ByteSliceToString(field[:]))
	}
	return strings.Join(words, " ")
}

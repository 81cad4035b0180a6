//go:build amd64

package host

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/uapi"
)

// This gathers the facts about this machine and process.
func This() (*Host, error) {
	h := &Host{
		Random: rand.Uint64(),
		Xsave:  sys.XsaveLayout(), CPUs: runtime.NumCPU(), Holder: holder,
		Stat:  func(path string) (fs.FileInfo, error) { return os.Stat(path) },
		Lstat: func(path string) (fs.FileInfo, error) { return os.Lstat(path) }, ReadFileAt: readFileAt,
		Unfinished: sys.Unfinished, CgroupFile: cgroupFile, CgroupExists: cgroupExists,
		HugePages: hugePages, AioRoom: aioRoom,
		UnixName: livingUnixName, SocketKind: sys.SocketKind, MountOfHandle: mountOfHandle,
		InetSockets: inetSockets,
		CanBind:     canBind, Interface: InterfaceNumber, MayCome: func(string) bool { return false },
		InterfaceName: InterfaceName, NetlinkPort: netlinkPort, ProcMounts: ownProcMounts,
		RootIsMount: func() bool { return sys.IsMount("/") },
		LoginUID:    loginUID, TTY: ownTerminal, InitialUsers: sync.OnceValue(initialUsers), LSM: ownLabel,
		Cgroups:   sync.OnceValue(ownCgroups),
		Droppable: sync.OnceValue(sys.Droppable), PingGroups: ownPingGroups,
	}
	if err := h.readVDSO(); err != nil {
		return nil, err
	}
	if err := h.readStatus(); err != nil {
		return nil, err
	}
	h.Egid = uint32(os.Getegid())
	h.OomScoreAdj, _ = strconv.Atoi(strings.TrimSpace(ReadProc("/proc/self/oom_score_adj")))
	h.SuidDumpable, _ = strconv.Atoi(strings.TrimSpace(ReadProc("/proc/sys/fs/suid_dumpable")))
	var err error
	if h.Rlimits, err = sys.Rlimits(len(uapi.RlimitNames)); err != nil {
		return nil, err
	}
	h.MaxFiles, _ = strconv.ParseUint(strings.TrimSpace(ReadProc("/proc/sys/fs/nr_open")), 10, 64)
	offsets, err := sys.ReadProc("/proc/self/timens_offsets")
	h.TimeNamespaces = err == nil
	h.MonotonicNs = sys.Monotonic() - clockOffset(string(offsets), "monotonic")
	h.BoottimeNs = sys.Boottime() - clockOffset(string(offsets), "boottime")
	h.Nice, h.SchedPolicy, h.Personality, h.THPDisabled = sys.Nice(), sys.SchedPolicy(), sys.Personality(),
		sys.THPDisabled()
	return h, nil
}

func loginUID() uint32 {
	uid, err := strconv.ParseUint(strings.TrimSpace(ReadProc("/proc/self/loginuid")), 10, 32)
	if err != nil {
		return NoLoginUID
	}
	return uint32(uid)
}

func ownTerminal() int {
	for fd := range 3 {
		if sys.IsTerminal(fd) {
			return fd
		}
	}
	return -1
}

func ownLabel() string {
	return strings.TrimRight(strings.TrimSpace(ReadProc("/proc/self/attr/current")), "\x00")
}

// initialUsers knows the namespace by its inode, PROC_USER_INIT_INO of include/linux/proc_ns.h.
func initialUsers() bool {
	name, err := os.Readlink("/proc/self/ns/user")
	return err == nil && name == "user:[4026531837]"
}

func ownCgroups() map[string]Hierarchy {
	return CgroupHierarchies(ReadProc("/proc/self/cgroup"), ReadProc("/proc/self/mountinfo"))
}

// hugePages reads the pool of a size; pages beyond it may be had, up to a limit,
// Documentation/admin-guide/mm/hugetlbpage.rst.
func hugePages(size uint64) uint64 {
	pool := func(name string) uint64 {
		n, _ := strconv.ParseUint(strings.TrimSpace(ReadProc(
			fmt.Sprintf("/sys/kernel/mm/hugepages/hugepages-%dkB/%s", size>>10, name))), 10, 64)
		return n
	}
	free := pool("free_hugepages") - min(pool("free_hugepages"), pool("resv_hugepages"))
	beyond := pool("nr_overcommit_hugepages")
	return free + beyond - min(beyond, pool("surplus_hugepages"))
}

// aioRoom: proc_sys_fs(5).
func aioRoom() uint64 {
	most, _ := strconv.ParseUint(strings.TrimSpace(ReadProc("/proc/sys/fs/aio-max-nr")), 10, 64)
	used, _ := strconv.ParseUint(strings.TrimSpace(ReadProc("/proc/sys/fs/aio-nr")), 10, 64)
	return most - min(most, used)
}

// clockOffset reads from timens_offsets how far this process's clock is ahead of the initial time namespace's, ns;
// time_namespaces(7). Offsets that are written there count from the latter.
func clockOffset(offsets, clock string) int64 {
	for line := range strings.Lines(offsets) {
		if words := strings.Fields(line); len(words) == 3 && words[0] == clock {
			sec, _ := strconv.ParseInt(words[1], 10, 64)
			nsec, _ := strconv.ParseInt(words[2], 10, 64)
			return sec*1e9 + nsec
		}
	}
	return 0
}

// ReadClocks reads a timens_offsets. That of a process that has ended is empty.
func ReadClocks(path string) (*Clocks, error) {
	text, err := sys.ReadProc(path)
	if err != nil {
		return nil, err
	}
	for _, clock := range []string{"monotonic", "boottime"} {
		if !strings.Contains(string(text), clock) {
			return nil, fmt.Errorf("read %s: it does not have the clock %s", path, clock)
		}
	}
	return &Clocks{clockOffset(string(text), "monotonic"), clockOffset(string(text), "boottime")}, nil
}

// readFileAt reads from a regular file: to open another one can have effects, as on a tape or a watchdog.
func readFileAt(path string, b []byte, off int64) (int, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, NotRegular(path)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // whatever has that name now must not block
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return f.ReadAt(b, off)
}

// NotRegular is why a file is not read.
func NotRegular(path string) error {
	return &fs.PathError{Op: "read", Path: path, Err: errors.New("it is not a regular file")}
}

func ReadProc(path string) string {
	b, _ := sys.ReadProc(path) // what is not there is empty: not every kernel has every file
	return string(b)
}

// readVDSO finds the vDSO in this process's own memory, proc_pid_maps(5).
func (h *Host) readVDSO() error {
	maps, err := sys.ReadProc("/proc/self/maps")
	if err != nil {
		return fmt.Errorf("host: %w", err)
	}
	var start, end uint64
	for line := range bytes.Lines(maps) {
		text := string(bytes.TrimSpace(line))
		switch {
		case strings.HasSuffix(text, "[vdso]"):
			start, end = mappedRange(text)
		case strings.HasSuffix(text, "[vvar]"), strings.HasSuffix(text, "[vvar_vclock]"):
			from, to := mappedRange(text)
			h.VDSO.DataSize += to - from
		}
	}
	if end <= start {
		return nil // booted with vdso=0: tasks that have one are refused
	}
	mem, err := os.Open("/proc/self/mem")
	if err != nil {
		return fmt.Errorf("host: %w", err)
	}
	defer mem.Close()
	h.VDSO.Code = make([]byte, end-start)
	if _, err := mem.ReadAt(h.VDSO.Code, int64(start)); err != nil {
		return fmt.Errorf("host: read vDSO: %w", err)
	}
	return nil
}

// mappedRange reads the addresses that a line of maps begins with.
func mappedRange(line string) (start, end uint64) {
	addresses, _, _ := strings.Cut(line, " ")
	from, to, _ := strings.Cut(addresses, "-")
	start, _ = strconv.ParseUint(from, 16, 64)
	end, _ = strconv.ParseUint(to, 16, 64)
	return start, end
}

// readStatus reads capabilities and no_new_privs, which are written as hexadecimal numbers.
func (h *Host) readStatus() error {
	status, err := sys.ReadProc("/proc/self/status")
	if err != nil {
		return fmt.Errorf("host: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(line, ":")
		switch key {
		case "CapEff":
			h.Caps = hexadecimal(value)
		case "CapBnd":
			h.Bounds = hexadecimal(value)
		case "NoNewPrivs":
			h.NoNewPrivs = hexadecimal(value) != 0
		}
	}
	return nil
}

func hexadecimal(value string) uint64 {
	n, _ := strconv.ParseUint(strings.TrimSpace(value), 16, 64) // the kernel writes nothing else
	return n
}

// ownProcMounts asks each mount which number this process has there.
func ownProcMounts() []ProcMount {
	own := strconv.Itoa(os.Getpid())
	return procMounts(ReadProc("/proc/self/mountinfo"), func(path string) bool {
		self, err := os.Readlink(path + "/self")
		return err == nil && self == own
	})
}

// holder looks a number up among processes and threads. Session and process group numbers show only when their leader
// still exists; clone3(2) reports the rest.
func holder(id int) string {
	if _, err := os.Lstat(fmt.Sprintf("/proc/%d", id)); err != nil {
		return ""
	}
	return PidHolder(id)
}

// PidHolder describes the process or thread that has a number.
func PidHolder(id int) string {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", id))
	if err != nil {
		return "a process group or session of that number"
	}
	defer f.Close()
	var name, state, tgid string
	for sc := bufio.NewScanner(f); sc.Scan(); {
		key, value, _ := strings.Cut(sc.Text(), ":")
		value = strings.TrimSpace(value)
		switch key {
		case "Name":
			name = value
		case "State":
			state = value
		case "Tgid":
			tgid = value
		}
	}
	who := fmt.Sprintf("%q (state %s)", name, state)
	switch {
	case tgid == strconv.Itoa(os.Getpid()):
		return "crpie itself: run it again"
	case tgid != strconv.Itoa(id):
		return fmt.Sprintf("a thread of process %s, %s", tgid, who)
	case strings.HasPrefix(state, "Z"):
		return who + ", which waits for its parent to reap it"
	}
	return "process " + who
}

// ProcessState gives a process's state and its parent: they stand behind the name in parentheses, proc_pid_stat(5).
func ProcessState(id int) (state string, parent int) {
	stat := ReadProc(fmt.Sprintf("/proc/%d/stat", id))
	fields := strings.Fields(stat[strings.LastIndex(stat, ")")+1:])
	if len(fields) < 2 {
		return "", 0
	}
	parent, _ = strconv.Atoi(fields[1])
	return fields[0], parent
}

// IsZombie reports whether a process has ended and was not waited for.
func IsZombie(id int) bool {
	state, _ := ProcessState(id)
	return state == "Z"
}

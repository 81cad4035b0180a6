package host

import (
	"errors"
	"io"
	"io/fs"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/crpie/crpie/internal/sys"
)

// Clocks say by how many nanoseconds the clocks of a time namespace are ahead of the initial one's.
type Clocks struct{ MonotonicNs, BoottimeNs int64 }

// Host is what a plan needs to know about the machine it will run on. Tests make one up.
type Host struct {
	VDSO    VDSO
	Xsave   sys.Xsave
	CPUs    int
	Random  uint64      // any number: where the region goes depends on it
	Caps    uint64      // effective capabilities of this process, bit n: capability n
	Bounds  uint64      // its bounding set
	Rlimits [][2]uint64 // soft and hard limits by RLIMIT_*, getrlimit(2)

	MaxFiles uint64 // the highest RLIMIT_NOFILE that can be set, fs.nr_open of proc_sys_fs(5); 0: not known

	Egid        uint32 // effective group id
	OomScoreAdj int
	Nice        int
	SchedPolicy int    // of this process, sched(7)
	Personality uint32 // personality(2)
	THPDisabled bool   // PR_SET_THP_DISABLE of prctl(2)
	NoNewPrivs  bool   // PR_SET_NO_NEW_PRIVS

	// SuidDumpable is what a change of ids makes of the dumpable flag: fs.suid_dumpable, proc_sys_fs(5).
	SuidDumpable int

	TimeNamespaces bool // CONFIG_TIME_NS, Linux 5.6

	MonotonicNs, BoottimeNs int64   // clock_gettime(2) now, in the initial time namespace
	Joined                  *Clocks // of the time namespace that the tasks enter; nil: of their own, or none

	// What follows is asked only when a plan needs it: most do not, and every answer takes system calls.

	// LoginUID is audit's, /proc/self/loginuid; NoLoginUID without one, or on a kernel without audit.
	LoginUID func() uint32
	// TTY is the first of this process's descriptors 0, 1, 2 that is a terminal, or -1.
	TTY func() int
	// InitialUsers reports whether this process is in the initial user namespace, user_namespaces(7).
	InitialUsers func() bool
	// LSM is this process's security label, /proc/self/attr/current; "" without one.
	LSM func() string
	// Cgroups are this host's hierarchies by the names of their controllers, as in /proc/PID/cgroup.
	Cgroups func() map[string]Hierarchy
	// Droppable reports whether the kernel has MAP_DROPPABLE, Linux 6.11.
	Droppable func() bool
	// HugePages counts the free and unreserved huge pages of a size in bytes.
	HugePages func(size uint64) uint64
	// AioRoom is how many more requests AIO contexts may be made for.
	AioRoom func() uint64
	// Stat looks at a file as the restored task will see it.
	Stat func(path string) (fs.FileInfo, error)
	// Lstat looks at a symbolic link itself.
	Lstat func(path string) (fs.FileInfo, error)
	// Unfinished reports whether a restore is making a cgroup, or was killed while it did.
	Unfinished func(path string) bool
	// CgroupExists reports whether there is a directory of a cgroup.
	CgroupExists func(path string) bool
	// CgroupFile reads a file of a cgroup, without white space around it; "" when there is none.
	CgroupFile func(path string) string
	// ReadFileAt reads from a file, as io.ReaderAt does.
	ReadFileAt func(path string, b []byte, off int64) (int, error)
	// MountOfHandle finds where the file system of a device is mounted on which there is a file of a handle,
	// given as struct file_handle; "" when there is none.
	MountOfHandle func(major, minor uint32, handle []byte) string
	// UnixName reports whether some unix socket has a name: the path of its file, or NUL and an abstract one.
	UnixName func(name string) bool
	// SocketKind gives the family and the type of a descriptor of crpie's own that is a socket, socket(2).
	SocketKind func(fd int) (family, kind uint32)
	// InetSockets lists this host's internet sockets that have a port.
	InetSockets func() []InetSocket
	// PingGroups are the first and the last group that may have ICMP sockets, net.ipv4.ping_group_range; none if
	// the first is greater.
	PingGroups func() [2]uint32
	// CanBind reports whether a socket can be given an address.
	CanBind func(at netip.Addr, dev string) bool
	// MayCome reports whether somebody may still make a network interface, before the tasks need it.
	MayCome func(device string) bool
	// NetlinkPort reports whether some netlink socket of a protocol has a port.
	NetlinkPort func(protocol, port uint32) bool
	// InterfaceName names the network interface that has a number, "" when there is none.
	InterfaceName func(number uint32) string
	// Interface gives the number of a network interface, 0 when there is none of that name.
	Interface func(name string) uint32
	// ProcMounts lists where proc is mounted that shows this process's pid namespace, proc(5).
	ProcMounts func() []ProcMount
	// RootIsMount reports whether this process's root is that of a mount: after chroot(2) it need not be.
	RootIsMount func() bool
	// Holder names the process that has a pid, tid, process group or session number; "" when the number is free.
	Holder func(id int) string
}

// ErrUnseen is the answer about files where there is none: what they are on is refused, and could not be made.
var ErrUnseen = errors.New("it cannot be seen")

// WithoutFiles has no answer about any file: the tasks' mounts are refused.
func (h *Host) WithoutFiles() {
	unseen := func(string) (fs.FileInfo, error) { return nil, ErrUnseen }
	h.Stat, h.Lstat = unseen, unseen
	h.ReadFileAt = func(string, []byte, int64) (int, error) { return 0, ErrUnseen }
	h.MountOfHandle = func(uint32, uint32, []byte) string { return "/" }
}

// WithoutNetwork has nothing in the way of sockets: the tasks' network is refused.
func (h *Host) WithoutNetwork() {
	h.InetSockets = func() []InetSocket { return nil }
	h.PingGroups = func() [2]uint32 { return [2]uint32{0, math.MaxUint32} }
	h.CanBind = func(netip.Addr, string) bool { return true }
	h.MayCome = func(string) bool { return true }
	h.NetlinkPort = func(uint32, uint32) bool { return false }
	h.Interface = func(string) uint32 { return 1 }
	h.InterfaceName = func(uint32) string { return "lo" }
	ofPath := h.UnixName
	h.UnixName = func(name string) bool { return !strings.HasPrefix(name, "\x00") && ofPath(name) }
}

// ProcMount is a mount of proc.
type ProcMount struct {
	Path    string
	Flags   uint64 // MS_*, mount(2)
	Options string // hidepid=, gid=, subset=
}

// InetSocket is one line of /proc/net/tcp, udp, tcp6, and so on, proc_pid_net(5).
type InetSocket struct {
	Protocol      uint32 // IPPROTO_*
	Local, Remote netip.AddrPort
	State         uint32 // include/net/tcp_states.h
}

// VDSO is this kernel's vDSO: a code mapping directly above its data mappings, vdso(7).
type VDSO struct {
	DataSize uint64 // of [vvar] and [vvar_vclock] together, bytes
	Code     []byte
}

// File reads a file as the restored tasks will see it. Nothing is kept open.
func (h *Host) File(path string) io.ReaderAt { return file{h, path} }

type file struct {
	host *Host
	path string
}

func (f file) ReadAt(b []byte, off int64) (int, error) { return f.host.ReadFileAt(f.path, b, off) }

// Has reports whether this process has a capability.
func (h *Host) Has(capability int) bool { return h.Caps&(1<<capability) != 0 }

// Hierarchy is one of this host's cgroup hierarchies, cgroups(7).
type Hierarchy struct {
	Mount string // where it is mounted; empty: nowhere
	Own   string // the path of this process's cgroup
}

// NoLoginUID is the login uid of a process that no login has started, audit(7).
const NoLoginUID = math.MaxUint32

// SortedNames returns the names of cgroup hierarchies.
func SortedNames(m map[string]Hierarchy) []string {
	var names []string
	for k := range m {
		names = append(names, k)
	}
	slices.Sort(names)
	return names
}

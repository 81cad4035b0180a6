package hosttest

import (
	"bytes"
	"io/fs"
	"math"
	"net/netip"
	"strings"
	"time"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/internal/buildid"
	"github.com/crpie/crpie/internal/buildid/buildidtest"
	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/host"
)

// New makes a host that suits a dump: it has every file as it was, a vDSO of the usual size, every CPU feature and
// capability, no limit, and no socket, process or cgroup of its own. Tests change the members that they are about.
func New(dir *images.Dir) *host.Host {
	files := &files{infos: map[string]Info{"/dev/pts/ptmx": {Kind: fs.ModeDevice | fs.ModeCharDevice}},
		builds: map[string][]byte{}}
	files.addAll(dir)
	return &host.Host{
		VDSO:  host.VDSO{DataSize: 6 * memory.PageSize, Code: make([]byte, 2*memory.PageSize)},
		Xsave: sys.Xsave{Features: math.MaxUint64},
		CPUs:  2, Caps: math.MaxUint64, Bounds: 1<<(uapi.CapLast+1) - 1, Rlimits: unlimited(),
		LoginUID:       func() uint32 { return host.NoLoginUID },
		TTY:            func() int { return -1 },
		InitialUsers:   func() bool { return true },
		LSM:            func() string { return "" },
		Cgroups:        func() map[string]host.Hierarchy { return nil },
		Droppable:      func() bool { return false },
		PingGroups:     func() [2]uint32 { return [2]uint32{} },
		TimeNamespaces: true,
		MountOfHandle:  func(uint32, uint32, []byte) string { return "" },
		Stat:           files.stat,
		Lstat:          files.stat,
		ReadFileAt:     files.readAt,
		Unfinished:     func(string) bool { return false },
		CgroupExists:   files.exists,
		CgroupFile:     func(string) string { return "" },
		AioRoom:        func() uint64 { return 1 << 16 },
		HugePages:      func(uint64) uint64 { return 1 << 20 },
		Holder:         func(int) string { return "" },
		ProcMounts:     func() []host.ProcMount { return []host.ProcMount{{Path: "/proc"}} },
		RootIsMount:    func() bool { return true },
		UnixName:       func(string) bool { return false },
		SocketKind:     func(int) (uint32, uint32) { return uapi.AfUnix, uapi.SockStream },
		InetSockets:    func() []host.InetSocket { return nil },
		CanBind:        func(netip.Addr, string) bool { return true },
		MayCome:        func(string) bool { return false },
		Interface:      func(string) uint32 { return 0 },
		InterfaceName:  func(uint32) string { return "eth7" },
		NetlinkPort:    func(uint32, uint32) bool { return false },
	}
}

func unlimited() [][2]uint64 {
	limits := make([][2]uint64, len(uapi.RlimitNames))
	for i := range limits {
		limits[i] = [2]uint64{uapi.RlimInfinity, uapi.RlimInfinity}
	}
	return limits
}

// files are those of a dump, by path: what stat(2) says of them, and ELF files with their build ids.
type files struct {
	infos  map[string]Info
	builds map[string][]byte
}

// addAll adds the files of a dump but its terminals, whose numbers must be free.
func (f *files) addAll(dir *images.Dir) {
	for _, entry := range dir.Files {
		if r := entry.GetReg(); r != nil && !strings.HasPrefix(r.GetName(), "/dev/pts/") {
			f.infos[r.GetName()] = Info{Bytes: int64(r.GetSize()), Kind: fileMode(r.GetMode())}
			f.builds[r.GetName()] = buildidtest.ELF64(buildidtest.BuildID(buildid.OfImage(r)))
		}
	}
}

func (f *files) stat(path string) (fs.FileInfo, error) {
	if info, ok := f.infos[path]; ok {
		return info, nil
	}
	return nil, &fs.PathError{Op: "stat", Path: path, Err: fs.ErrNotExist}
}

func (f *files) exists(path string) bool { _, err := f.stat(path); return err == nil }

func (f *files) readAt(path string, b []byte, off int64) (int, error) {
	return bytes.NewReader(f.builds[path]).ReadAt(b, off)
}

// Info is an fs.FileInfo of a file of that size, in bytes, and mode.
type Info struct {
	Bytes int64
	Kind  fs.FileMode
}

func (f Info) Name() string       { return "" }
func (f Info) Size() int64        { return f.Bytes }
func (f Info) Mode() fs.FileMode  { return f.Kind }
func (f Info) ModTime() time.Time { return time.Time{} }
func (f Info) IsDir() bool        { return f.Kind.IsDir() }
func (f Info) Sys() any           { return nil }

// fileMode is the opposite of uapi.UnixMode, for the kinds of files that dumps in tests have.
func fileMode(mode uint32) fs.FileMode {
	m := fs.FileMode(mode & 0o777)
	for bit, is := range map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid,
		0o1000: fs.ModeSticky} {
		if mode&bit != 0 {
			m |= is
		}
	}
	switch mode & uapi.SIfmt {
	case uapi.SIfdir:
		m |= fs.ModeDir
	case uapi.SIfchr:
		m |= fs.ModeDevice | fs.ModeCharDevice
	}
	return m
}

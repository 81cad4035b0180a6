package sock

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/host"
	"github.com/crpie/crpie/restorer/internal/planner/file"
)

// A unix socket that is bound to a path has the path, as it was given to bind(2), for a name, and a file, by which it
// is connected to, unix(7). The file may have been renamed, which CRIU does not dump, or deleted, and then another one
// may have its path. Connections are made through a descriptor of the file, whatever has become of its path.

const sunPath = 108

// sizeof(sun_path), unix(7)

// unixName is what bind(2) was given. The kernel counts the NUL behind a path as part of the name.
func unixName(e *pb.UnixSkEntry) string {
	name := string(e.GetName())
	if strings.HasPrefix(name, "\x00") {
		return name
	}
	return strings.TrimSuffix(name, "\x00")
}

// socketName is for people.
func socketName(e *pb.UnixSkEntry) string {
	name := unixName(e)
	switch {
	case name == "":
		return fmt.Sprintf("unix socket %d", e.GetIno())
	case name[0] == 0:
		return fmt.Sprintf("unix socket %q", "@"+name[1:])
	}
	return fmt.Sprintf("unix socket %q", name)
}

// unixPath is where a socket had its file; "" for one without.
func unixPath(e *pb.UnixSkEntry) string {
	switch name := unixName(e); {
	case name == "" || name[0] == 0:
		return ""
	case path.IsAbs(name):
		return name
	default:
		return path.Join(e.GetNameDir(), name)
	}
}

// checkName: a name must be free. A file that is still there must belong to a socket that no process has open any more.
func (u *unixPlanner) checkName(s *unixSocket) {
	abstract := len(s.GetName()) > 0 && s.path == ""
	switch {
	case abstract && u.Host.UnixName(unixName(s.UnixSkEntry)):
		u.Refuse(s.where, "end the process that has it", "the name of %s is in use", s.what)
	case s.path == "":
	case u.hasRoot():
		u.Refuse(s.where, "", "%s in a tree with a root directory of its own: not supported", s.what)
	case !path.IsAbs(s.path):
		u.Refuse(s.where, "", "%s: the directory of its name was not dumped", s.what)
	case s.GetDeleted():
		if !u.Host.Has(uapi.CapSysChroot) {
			u.Refuse(s.where, "run it as root", "%s had been deleted, and crpie lacks %s to name it so",
				s.what,
				uapi.CapNames[uapi.CapSysChroot])
		}
	default:
		u.checkPath(s)
	}
}

// hasRoot reports whether some task has a root directory of its own: then paths are not what they seem.
func (u *unixPlanner) hasRoot() bool {
	for _, t := range u.Dir.Tasks {
		if t.Fs != nil && u.Dir.Files[t.Fs.GetRootId()].GetReg().GetName() != "/" {
			return true
		}
	}
	return false
}

// checkPath refuses a path that a socket cannot be bound to. A socket without a living owner may stay there: it is
// replaced.
func (u *unixPlanner) checkPath(s *unixSocket) {
	dir, err := u.Host.Stat(path.Dir(s.path))
	if errors.Is(err, host.ErrUnseen) {
		return
	}
	if err != nil || !dir.IsDir() {
		u.Refuse(s.where, "make the directory again", "%s is not a directory, which %s needs",
			path.Dir(s.path), s.what)
		return
	}
	info, err := u.Host.Stat(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, host.ErrUnseen):
	case err != nil:
		u.Refuse(s.where, "", "%v", err)
	case info.Mode()&fs.ModeSocket == 0:
		u.Refuse(s.where, "move it away", "%s is in the way of a socket: it is none itself", s.path)
	case u.Host.UnixName(s.path):
		u.Refuse(s.where, "end the process that has it", "the name of %s is in use", s.what)
	}
}

// bind gives a socket its name.
func (u *unixPlanner) bind(s *unixSocket) {
	switch {
	case len(s.GetName()) == 0:
	case s.path == "":
		u.bindTo(s)
	case s.GetDeleted():
		u.enterPrivate(path.Dir(s.path))
		u.bindFile(s)
		u.Prog.Sys(s.what+" had been deleted", uapi.SysUnlink, u.Prog.Arena.String(s.path))
		u.quitPrivate()
	case u.paths[s.path] != nil:
		u.Refuse(s.where, "",
			"%s has the name of another socket, so one of the two had been renamed, which CRIU does not dump", s.what)
	default:
		u.paths[s.path] = s
		if _, err := u.Host.Stat(s.path); err == nil { // a socket that is not open: checkPath has looked
			u.Prog.Sys("left over from before", uapi.SysUnlink, u.Prog.Arena.String(s.path))
		} else {
			u.Plan.Sockets = append(u.Plan.Sockets, s.path)
		}
		u.bindFile(s)
	}
}

func (u *unixPlanner) bindTo(s *unixSocket) {
	addr, size := u.address(unixName(s.UnixSkEntry))
	u.Prog.Sys(s.what, uapi.SysBind, uint64(s.number), addr, size)
}

// bindFile makes the file. A relative name is looked up from the directory it was used in; the task's own working
// directory comes later.
func (u *unixPlanner) bindFile(s *unixSocket) {
	if !path.IsAbs(unixName(s.UnixSkEntry)) {
		u.Prog.Sys("directory of "+s.what, uapi.SysChdir, u.Prog.Arena.String(s.GetNameDir()))
	}
	u.bindTo(s)
	file := u.Prog.Arena.String(s.path)
	if perms := s.GetFilePerms(); perms != nil {
		u.Prog.Sys(s.what, uapi.SysLchown, file, uint64(perms.GetUid()), uint64(perms.GetGid()))
		u.Prog.Sys(s.what, uapi.SysChmod, file, uint64(perms.GetMode()&0o7777))
	}
	if s.GetState() == uapi.TcpListen || !s.isStream() && len(u.to[s.GetIno()]) > 0 {
		s.byPath = u.Fds.Scratch()
		u.extra = append(u.extra, s.byPath)
		u.Prog.Open(s.byPath, true, "file of "+s.what, uapi.SysOpenat, uapi.AtFdcwd, file,
			uapi.OPath|uapi.ONofollow)
	}
}

// address lays out struct sockaddr_un.
func (u *unixPlanner) address(name string) (addr, size uint64) {
	b := append(binary.LittleEndian.AppendUint16(nil, uapi.AfUnix), name...)
	return u.Prog.Arena.Bytes(b), uint64(len(b))
}

func (u *unixPlanner) connect(s, to *unixSocket) {
	name := unixName(to.UnixSkEntry)
	if to.byPath != 0 {
		name = file.ProcFd(to.byPath)
	}
	addr, size := u.address(name)
	u.Prog.Sys(s.what+" to "+to.what, uapi.SysConnect, uint64(s.number), addr, size)
}

// privateFS is a file system that is mounted nowhere (fsmount(2), Linux 5.2). A deleted socket is bound in it, with it
// as root directory, so its path is the old one, and no other file is in the way or touched.
type privateFS struct {
	mount, root int // descriptors, 0: none yet
	dirs        map[string]bool
}

// enterPrivate makes it the root directory, with a directory in it.
func (u *unixPlanner) enterPrivate(dir string) {
	p, v := u.Prog, &u.private
	if v.mount == 0 {
		u.makePrivate()
	}
	p.Sys("private file system", uapi.SysFchdir, uint64(v.mount))
	p.Sys("private file system", uapi.SysChroot, p.Arena.String("."))
	for i := 1; i <= len(dir); i++ {
		if part := dir[:i]; (i == len(dir) || dir[i] == '/') && part != "/" && !v.dirs[part] {
			v.dirs[part] = true
			p.Sys("private file system", uapi.SysMkdir, p.Arena.String(part), 0o755)
		}
	}
}

// makePrivate makes the file system, and opens the root directory, through which the task gets out of it again.
func (u *unixPlanner) makePrivate() {
	p, v := u.Prog, &u.private
	context := u.Fds.Scratch()
	v.mount, v.root, v.dirs = u.Fds.Scratch(), u.Fds.Scratch(), map[string]bool{}
	p.Open(v.root, true, "root directory", uapi.SysOpenat, uapi.AtFdcwd, p.Arena.String("/"),
		uapi.OPath|uapi.ODirectory)
	p.Open(context, true, "private file system", uapi.SysFsopen, p.Arena.String("tmpfs"), 0)
	p.Sys("private file system", uapi.SysFsconfig, uint64(context), uapi.FsconfigCmdCreate, 0, 0, 0)
	p.Open(v.mount, true, "private file system", uapi.SysFsmount, uint64(context), 0, 0)
	p.Sys("", uapi.SysClose, uint64(context))
	u.extra = append(u.extra, v.mount, v.root)
}

// quitPrivate goes back.
func (u *unixPlanner) quitPrivate() {
	u.Prog.Sys("root directory", uapi.SysFchdir, uint64(u.private.root))
	u.Prog.Sys("root directory", uapi.SysChroot, u.Prog.Arena.String("."))
}

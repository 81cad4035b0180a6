package restorer

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
)

// Inherited is a descriptor of this process that takes the place of a file of the images, --inherit-fd of criu(8).
type Inherited struct {
	FD       int
	Resource string // "path/of/a/file", "file[MNT_ID:INODE]", "pipe:[INODE]", "socket:[INODE]", "tty[RDEV:DEV]"
	Open     func() (*os.File, error)
}

func (in *Inherited) String() string {
	return fmt.Sprintf("--inherit-fd fd[%d]:%s", in.FD, in.Resource)
}

// planInheritFDs has the zygote pass on what tasks inherit.
func (p *fileRoom) planInheritFDs() {
	p.inherited = map[uint32]int{}
	given := map[string]bool{}
	for i := range p.opts.Inherit {
		in := &p.opts.Inherit[i]
		if given[in.Resource] {
			p.refuse(in.String(), "", "it is given twice")
		} else {
			p.inheritFD(in)
		}
		given[in.Resource] = true
	}
	for _, resource := range p.opts.External {
		if !given[resource] {
			p.refuse("--external "+resource, "give it an open file: --inherit-fd fd[N]:"+resource, "no descriptor takes its place")
		}
	}
}

func (p *fileRoom) inheritFD(in *Inherited) {
	info, err := p.host.Stat(procFd(in.FD))
	if err != nil {
		p.refuse(in.String(), "", "descriptor %d is not open", in.FD)
		return
	}
	number, used := p.fds.scratch(), false
	for _, id := range slices.Sorted(maps.Keys(p.dir.Files)) {
		file := p.dir.Files[id]
		if resourceOf(p.dir, file) != in.Resource {
			continue
		}
		used = true
		if p.canInherit(in, file, unixType(info.Mode())) {
			p.inherited[id] = number
		}
		if t := file.GetType(); t == pb.FdTypes_REG || t == pb.FdTypes_UNIXSK {
			p.sharedFDs[id] = number
		}
	}
	if !used {
		p.refuse(in.String(), "", "nothing in the images has this name")
		return
	}
	p.plan.Files = append(p.plan.Files, Passed{number, in.String(), in.Open})
}

// resourceOf names a file as criu(8) does for --inherit-fd.
func resourceOf(dir *images.Dir, file *pb.FileEntry) string {
	switch file.GetType() {
	case pb.FdTypes_REG:
		return strings.TrimPrefix(file.GetReg().GetName(), "/")
	case pb.FdTypes_PIPE:
		return fmt.Sprintf("pipe:[%d]", file.GetPipe().GetPipeId())
	case pb.FdTypes_TTY:
		info := dir.Ttys[file.GetTty().GetTtyInfoId()]
		return fmt.Sprintf("tty[%x:%x]", info.GetRdev(), info.GetDev())
	case pb.FdTypes_UNIXSK:
		return fmt.Sprintf("socket:[%d]", file.GetUsk().GetIno())
	case pb.FdTypes_INETSK:
		return fmt.Sprintf("socket:[%d]", file.GetIsk().GetIno())
	}
	return ""
}

// canInherit refuses a descriptor that is of another kind.
func (p *fileRoom) canInherit(in *Inherited, file *pb.FileEntry, kind uint32) bool {
	switch file.GetType() {
	case pb.FdTypes_REG:
		if reg := file.GetReg(); !reg.GetExt() { // as CRIU does
			return p.sameFile(in.String(), procFd(in.FD), reg.Size, reg.Mode)
		}
		return true
	case pb.FdTypes_PIPE:
		if kind != sIfifo {
			p.refuse(in.String(), "", "descriptor %d is no pipe", in.FD)
			return false
		}
		return true
	case pb.FdTypes_TTY:
		if kind != sIfchr {
			p.refuse(in.String(), "", "descriptor %d is no terminal", in.FD)
			return false
		}
		return true
	case pb.FdTypes_UNIXSK:
		if family, kind := p.host.SocketKind(in.FD); family != afUnix || kind != file.GetUsk().GetType() {
			p.refuse(in.String(), "", "descriptor %d is no unix socket of type %d", in.FD, file.GetUsk().GetType())
			return false
		}
		return true
	}
	p.refuse(in.String(), "", "internet sockets cannot be inherited: not supported")
	return false
}

// inheritPipe opens one end of a pipe that was passed.
func (f *filePlanner) inheritPipe(fd *pb.FdinfoEntry, number int, flags uint32) {
	path := f.prog.arena.string(procFd(number))
	f.create(fd, "pipe that was passed", sysOpenat, atFdcwd, path, uint64(flags&oAccmode|oNonblock))
	f.prog.sys("status flags", sysFcntl, uint64(fd.GetFd()), fSetfl, uint64(flags&^(oAccmode|oCloexec|oLargefile)))
}

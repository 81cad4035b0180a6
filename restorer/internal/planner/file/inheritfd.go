package file

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/plan"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// PlanInheritFDs has the zygote pass on what tasks inherit. Runtimes give the standard descriptors that a container was
// started with, whether it has them yet or not; two of them may be the same pipe, and criu takes the first.
func (p *Room) PlanInheritFDs() {
	p.Inherited = map[uint32]int{}
	given := map[string]bool{}
	for i := range p.Opts.Inherit {
		in := &p.Opts.Inherit[i]
		switch {
		case given[in.Resource] && p.Opts.Spare:
		case given[in.Resource]:
			p.Refuse(in.String(), "", "it is given twice")
		case p.Job.Own.Net != nil && slices.Contains(p.Job.Own.Net.Takes(), in.Resource):
		default:
			p.inheritFD(in)
		}
		given[in.Resource] = true
	}
	for _, resource := range p.Opts.External {
		if !given[resource] {
			p.Refuse("--external "+resource, "give it an open file: --inherit-fd fd[N]:"+resource,
				"no descriptor takes its place")
		}
	}
}

// inheritFD finds the files that the user gives an open descriptor for, by the names that criu dump has printed. Files
// that the zygote cannot hand on by number are opened from it.
func (p *Room) inheritFD(in *job.Inherited) {
	info, err := p.Host.Stat(ProcFd(in.FD))
	if err != nil {
		p.Refuse(in.String(), "", "descriptor %d is not open", in.FD)
		return
	}
	number, used := p.Fds.Scratch(), false
	for _, id := range slices.Sorted(maps.Keys(p.Dir.Files)) {
		file := p.Dir.Files[id]
		if ResourceOf(p.Dir, file) != in.Resource {
			continue
		}
		used = true
		if p.canInherit(in, file, uapi.UnixType(info.Mode())) {
			p.Inherited[id] = number
		}
		if t := file.GetType(); t == pb.FdTypes_REG || t == pb.FdTypes_UNIXSK {
			p.SharedFDs[id] = number
		}
	}
	if !used {
		if !p.Opts.Spare {
			p.Refuse(in.String(), "", "nothing in the images has this name")
		}
		return
	}
	p.Plan.Files = append(p.Plan.Files, plan.ExtraFile{Number: number, Name: in.String(), Open: in.Open})
}

// ResourceOf names a file as criu(8) does for --inherit-fd.
func ResourceOf(dir *images.Dir, file *pb.FileEntry) string {
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
func (p *Room) canInherit(in *job.Inherited, file *pb.FileEntry, kind uint32) bool {
	switch file.GetType() {
	case pb.FdTypes_REG:
		if reg := file.GetReg(); !reg.GetExt() { // as CRIU does
			return p.sameFile(in.String(), ProcFd(in.FD), reg.Size, reg.Mode)
		}
		return true
	case pb.FdTypes_PIPE:
		if kind != uapi.SIfifo {
			p.Refuse(in.String(), "", "descriptor %d is not a pipe", in.FD)
			return false
		}
		return true
	case pb.FdTypes_TTY:
		if kind != uapi.SIfchr {
			p.Refuse(in.String(), "", "descriptor %d is not a terminal", in.FD)
			return false
		}
		return true
	case pb.FdTypes_UNIXSK:
		if family, kind := p.Host.SocketKind(in.FD); family != uapi.AfUnix || kind != file.GetUsk().GetType() {
			p.Refuse(in.String(), "", "descriptor %d is not a unix socket of type %d", in.FD,
				file.GetUsk().GetType())
			return false
		}
		return true
	}
	p.Refuse(in.String(), "", "internet sockets cannot be inherited: not supported")
	return false
}

// inheritPipe opens one end of a pipe that was passed.
func (f *Descriptors) inheritPipe(fd *pb.FdinfoEntry, number int, flags uint32) {
	path := f.Prog.Arena.String(ProcFd(number))
	f.Create(fd, "pipe that was passed", uapi.SysOpenat, uapi.AtFdcwd, path,
		uint64(flags&uapi.OAccmode|uapi.ONonblock))
	f.Prog.Sys("status flags", uapi.SysFcntl, uint64(fd.GetFd()), uapi.FSetfl,
		uint64(flags&^(uapi.OAccmode|uapi.OCloexec|uapi.OLargefile)))
}

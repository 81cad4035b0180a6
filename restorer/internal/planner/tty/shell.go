package tty

import (
	"slices"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/planner/file"
)

// With --shell-job a task goes on with the terminal of crpie.

// Collect keeps the terminal that --shell-job tasks go on with.
func (f *descriptors) Collect() {
	f.terminal = -1
	uses := slices.ContainsFunc(f.Img.Fds, func(fd *pb.FdinfoEntry) bool { return fd.GetType() == pb.FdTypes_TTY })
	if !uses || !f.Opts.ShellJob || f.Host.TTY() < 0 {
		return
	}
	f.terminal = f.Fds.Scratch()
	f.Prog.Open(f.terminal, true, "this terminal", uapi.SysFcntl, uint64(f.Host.TTY()),
		0 /* F_DUPFD */, uint64(f.terminal))
}

// Describe gives a terminal that the dump has not taken along: crpie's own, if --shell-job says so.
func (f *descriptors) Describe(fd *pb.FdinfoEntry, entry *pb.FileEntry) {
	switch {
	case f.Dir.Ttys[entry.GetTty().GetTtyInfoId()].GetType() == pb.TtyType_EXT_TTY:
		f.Refuse(f.FdWhere(fd), "give it an open terminal: --inherit-fd fd[N]:"+file.ResourceOf(f.Dir, entry),
			"terminal that was dumped as external")
	case !f.Opts.ShellJob:
		f.Refuse(f.FdWhere(fd), "use --shell-job to give it crpie's own terminal", "terminal: not supported")
	case f.terminal < 0:
		f.Refuse(f.FdWhere(fd), "run crpie in a terminal", "terminal: crpie's standard streams are none")
	default:
		f.Create(fd, "this terminal", uapi.SysFcntl, uint64(f.terminal), 0, uint64(f.terminal))
	}
}

func (f *descriptors) Finish() {}

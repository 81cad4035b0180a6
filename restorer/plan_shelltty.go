package restorer

import (
	"slices"

	"github.com/crpie/crpie/images/pb"
)

// With --shell-job a task goes on with the terminal of crpie.

// collect keeps the terminal that --shell-job tasks go on with.
func (f *ttyPlanner) collect() {
	f.terminal = -1
	uses := slices.ContainsFunc(f.img.Fds, func(fd *pb.FdinfoEntry) bool { return fd.GetType() == pb.FdTypes_TTY })
	if !uses || !f.opts.ShellJob || f.host.TTY < 0 {
		return
	}
	f.terminal = f.fds.scratch()
	f.prog.open(f.terminal, true, "this terminal", sysFcntl, uint64(f.host.TTY), 0 /* F_DUPFD */, uint64(f.terminal))
}

func (f *ttyPlanner) describe(fd *pb.FdinfoEntry, file *pb.FileEntry) {
	switch {
	case f.dir.Ttys[file.GetTty().GetTtyInfoId()].GetType() == pb.TtyType_EXT_TTY:
		f.refuse(f.fdWhere(fd), "give it an open terminal: --inherit-fd fd[N]:"+resourceOf(f.dir, file), "terminal that was dumped as external")
	case !f.opts.ShellJob:
		f.refuse(f.fdWhere(fd), "use --shell-job to give it crpie's own terminal", "terminal: not supported")
	case f.terminal < 0:
		f.refuse(f.fdWhere(fd), "run crpie in a terminal", "terminal: crpie's standard streams are none")
	default:
		f.create(fd, "this terminal", sysFcntl, uint64(f.terminal), 0, uint64(f.terminal))
	}
}

func (f *ttyPlanner) finish() {}

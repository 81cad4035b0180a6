package planner

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/restorer/internal/host"
	"github.com/crpie/crpie/restorer/internal/host/hosttest"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// Terminals of the sample, by tty_info_entry.id: CRIU numbers the ends of /dev/pts/N 2N and 2N+1, which is the master.
const (
	ownMaster, childMaster = 5, 9

	devTTY = 2012
)

func TestTerminalRefusals(t *testing.T) {
	exists := func(name string) func(*images.Dir, *host.Host) {
		return func(_ *images.Dir, host *host.Host) {
			stat := host.Stat
			host.Stat = func(path string) (fs.FileInfo, error) {
				if path == name {
					return hosttest.Info{Kind: fs.ModeDevice | fs.ModeCharDevice}, nil
				}
				return stat(path)
			}
		}
	}
	info := func(id uint32, change func(*pb.TtyInfoEntry)) func(*images.Dir, *host.Host) {
		return func(d *images.Dir, _ *host.Host) { change(d.Ttys[id]) }
	}
	for name, tc := range map[string]struct {
		change func(*images.Dir, *host.Host)
		want   string
	}{
		"taken": {exists("/dev/pts/4"),
			"terminal /dev/pts/4 exists already\n  hint: close the terminal that has this number, or restore elsewhere"},
		"no devpts": {func(_ *images.Dir, host *host.Host) {
			stat := host.Stat
			host.Stat = func(path string) (fs.FileInfo, error) {
				if path == "/dev/ptmx" {
					return nil, fs.ErrNotExist
				}
				return stat(path)
			}
		}, "terminal /dev/pts/1: there is no /dev/ptmx\n  hint: mount devpts there"},
		"number": {info(childMaster, func(e *pb.TtyInfoEntry) { e.Pty.Index = pb.Uint32(1001) }),
			"terminal /dev/pts/1001: numbers above 1000 are not supported"},
		"two masters": {info(ownMaster, func(e *pb.TtyInfoEntry) { e.Pty.Index = pb.Uint32(4) }),
			"a second master of /dev/pts/4: the images contradict themselves"},
		"line discipline": {info(childMaster, func(e *pb.TtyInfoEntry) { e.Termios.CLine = pb.Uint32(3) }),
			"terminal /dev/pts/4 with line discipline 3: not supported"},
		"session": {info(ownMaster, func(e *pb.TtyInfoEntry) { e.Sid = pb.Uint32(99) }),
			"terminal /dev/pts/2 controls session 99, whose leader was not dumped: not supported"},
		"group": {info(childMaster, func(e *pb.TtyInfoEntry) { e.Pgrp = pb.Uint32(99) }),
			"terminal /dev/pts/4 has the foreground process group 99, which was not dumped: not supported"},
		"no group": {func(d *images.Dir, _ *host.Host) { d.Tasks[2].Pgid = d.Tasks[1].Pid },
			"terminal /dev/pts/4 has the foreground process group 6, which was not dumped: not supported"},
		"contents": {func(d *images.Dir, _ *host.Host) { d.TtyData[0].Data = make([]byte, 16385) },
			"with 16385 bytes in it: CRIU dumps 16384 at most"},
		"console": {info(childMaster, func(e *pb.TtyInfoEntry) {
			e.Type, e.Pty = pb.TtyType_CONSOLE.Enum(), nil
		}),
			`terminal "/dev/gone" is not on this host`},
		"slave": {func(d *images.Dir, _ *host.Host) { // the masters are somebody else's
			for _, task := range d.Tasks {
				kept := task.Fds[:0]
				for _, fd := range task.Fds {
					if d.Files[fd.GetId()].GetTty().GetTtyInfoId() != childMaster {
						kept = append(kept, fd)
					}
				}
				task.Fds = kept
			}
		}, "terminal: not supported\n  hint: use --shell-job to give it crpie's own terminal"},
		"/dev/tty": {func(d *images.Dir, _ *host.Host) { // the root task is not below its child
			root, child := d.Tasks[0], d.Tasks[1]
			root.Fds, child.Fds = child.Fds, append(root.Fds, child.Fds[len(child.Fds)-1])
			for _, fd := range child.Fds {
				if d.Files[fd.GetId()].GetTty().GetTtyInfoId() == devTTY {
					root.Fds = append(root.Fds, fd)
				}
			}
			d.Ttys[ownMaster].Sid, d.Ttys[ownMaster].Pgrp = pb.Uint32(0), pb.Uint32(0)
			d.Ttys[ownMaster-1].Sid = pb.Uint32(0)
		}, "it has the /dev/tty of session 5, but does not descend from its leader: not supported"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := openSample(t, sampleFS(t, "ptys"))
			host := hosttest.New(dir)
			for _, f := range dir.Files {
				if name == "console" && f.GetReg().GetName() == "/dev/ptmx" {
					f.Reg.Name = pb.String("/dev/gone")
				}
			}
			tc.change(dir, host)
			_, err := buildSample(t, dir, host, &job.Options{})
			wantRefusal(t, err, tc.want)
		})
	}
}

// With --shell-job, terminals whose other end was not dumped become crpie's own; the rest stays what it was.
func TestShellJobKeepsPairs(t *testing.T) {
	dir := openSample(t, sampleFS(t, "ptys"))
	host := hosttest.New(dir)
	host.TTY = func() int { return 0 }
	plan, err := buildSample(t, dir, host, &job.Options{ShellJob: true})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	plan.Print(&text)
	if !strings.Contains(text.String(), "# master of /dev/pts/4") ||
		strings.Contains(text.String(), "as fd 3  # this terminal") {
		t.Error(text.String())
	}
}

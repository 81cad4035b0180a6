package planner

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/restorer/internal/host/hosttest"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// Wrong names, descriptors of another kind, and what has none are refused by name.
func TestInheritRefusals(t *testing.T) {
	ext := func(d *images.Dir) {
		for _, f := range d.Files {
			if f.GetReg().GetName() == "/dev/null" {
				f.Reg.Name, f.Reg.Ext = pb.String("/file[1b:99]"), pb.Bool(true)
			}
		}
	}
	none := func(*images.Dir) {}
	one := func(resource string) job.Options {
		return job.Options{Inherit: []job.Inherited{{FD: 9, Resource: resource}}}
	}
	for name, tc := range map[string]struct {
		change func(d *images.Dir)
		opts   job.Options
		want   string
	}{
		"closed": {none, job.Options{Inherit: []job.Inherited{{FD: 10, Resource: "dev/null"}}},
			"--inherit-fd fd[10]:dev/null: descriptor 10 is not open"},
		"nobody": {none, one("dev/nul"), "--inherit-fd fd[9]:dev/nul: nothing in the images has this name"},
		"absolute": {none, one("/dev/null"),
			"--inherit-fd fd[9]:/dev/null: nothing in the images has this name"},
		"twice": {none, job.Options{Inherit: []job.Inherited{{FD: 9, Resource: "dev/null"},
			{FD: 9, Resource: "dev/null"}}},
			"--inherit-fd fd[9]:dev/null: it is given twice"},
		"kind": {none, one("dev/null"),
			"--inherit-fd fd[9]:dev/null: /proc/self/fd/9 is a different kind of file than it was at dump time"},
		"terminal": {none, one("tty[502:6]"), "--inherit-fd fd[9]:tty[502:6]: descriptor 9 is not a terminal"},
		"pipe": {func(d *images.Dir) {
			for _, f := range d.Files {
				if f.GetPipe() != nil {
					f.Pipe.PipeId = pb.Uint32(7)
				}
			}
		}, one("pipe:[7]"), "--inherit-fd fd[9]:pipe:[7]: descriptor 9 is not a pipe"},
		"not inherited": {ext, job.Options{},
			"file[1b:99] was dumped as external\n  hint: give it an open file: --inherit-fd fd[N]:file[1b:99]"},
		"external": {none, job.Options{External: []string{"file[1b:99]"}},
			"--external file[1b:99]: no descriptor takes its place\n  hint: give it an open file: --inherit-fd fd[N]:file[1b:99]"},
		"external terminal": {func(d *images.Dir) {
			for _, info := range d.Ttys {
				info.Type, info.Pty = pb.TtyType_EXT_TTY.Enum(), nil
			}
		}, job.Options{}, "terminal that was dumped as external\n  hint: give it an open terminal: --inherit-fd fd[N]:tty[502:6]"},
		"socket": {func(d *images.Dir) {
			for _, f := range d.Files {
				f.Type = pb.FdTypes_INETSK.Enum()
			}
		}, one("socket:[0]"), "--inherit-fd fd[9]:socket:[0]: internet sockets cannot be inherited: not supported"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := openSample(t, sampleFS(t, "ptys"))
			host := hosttest.New(dir)
			stat := host.Stat
			host.Stat = func(path string) (fs.FileInfo, error) {
				if path == "/proc/self/fd/9" {
					return hosttest.Info{Bytes: 3}, nil
				}
				return stat(path)
			}
			tc.change(dir)
			_, err := buildSample(t, dir, host, &tc.opts)
			wantRefusal(t, err, tc.want)
		})
	}
}

// What is inherited is neither made nor looked for.
func TestInheritPlan(t *testing.T) {
	dir := openSample(t, sampleFS(t, "ptys"))
	host := hosttest.New(dir)
	stat := host.Stat
	host.Stat = func(path string) (fs.FileInfo, error) {
		if path == "/proc/self/fd/9" || path == "/dev/null" {
			return hosttest.Info{Kind: fs.ModeDevice | fs.ModeCharDevice},
				map[bool]error{true: fs.ErrNotExist}[path == "/dev/null"]
		}
		return stat(path)
	}
	for _, opts := range []*job.Options{
		{Inherit: []job.Inherited{{FD: 9, Resource: "dev/null"}}},
		// a runtime's: some it has no more, and two are one file
		{Inherit: []job.Inherited{{FD: 9, Resource: "pipe:[99]"}, {FD: 9, Resource: "dev/null"},
			{FD: 9, Resource: "dev/null"}}, Spare: true},
	} {
		plan, err := buildSample(t, dir, host, opts)
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		plan.Print(&text)
		if strings.Count(text.String(), "pass --inherit-fd ") != 1 ||
			!strings.Contains(text.String(), "pass --inherit-fd fd[9]:dev/null as fd ") ||
			strings.Contains(text.String(), "# /dev/null") {
			t.Error(text.String())
		}
	}
}

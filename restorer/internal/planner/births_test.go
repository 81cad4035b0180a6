package planner

import (
	"testing"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/restorer/internal/host/hosttest"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// sampleFamily is a root with three children, the last of them dead.
type sampleFamily struct{ root, one, two, dead *images.Task }

// under gives a task another parent.
func (f sampleFamily) under(parent, t *images.Task) {
	var rest []*images.Task
	for _, child := range t.Parent.Children {
		if child != t {
			rest = append(rest, child)
		}
	}
	t.Parent.Children = rest
	t.Parent, parent.Children = parent, append(parent.Children, t)
}

func leads(t *images.Task) { t.Sid, t.Pgid = t.Pid, t.Pid }

func reaper(t *images.Task) { t.Core.GetTc().ChildSubreaper = pb.Bool(true) }

func isIn(t *images.Task, session uint32) { t.Sid, t.Pgid = session, session }

// What CRIU does not dump, what no tree of processes can have come to, and what cannot be brought back, is said by
// name.
func TestTreeRefusals(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(dir *images.Dir, f sampleFamily)
		want   string
	}{
		"files": {func(_ *images.Dir, f sampleFamily) { f.two.Ids.FilesId = f.one.Ids.FilesId },
			"task 10290: it shares its file descriptor table (CLONE_FILES) with task 10289, but not with its parent: not supported"},
		"attributes": {func(_ *images.Dir, f sampleFamily) { f.one.Ids.FsId = f.root.Ids.FsId },
			"task 10289: it shares its file system attributes (CLONE_FS) with task 10287: not supported"},
		"memory": {func(_ *images.Dir, f sampleFamily) { f.one.Ids.VmId = f.root.Ids.VmId },
			"task 10289: it shares its memory (CLONE_VM) with task 10287: not supported"},
		"handlers": {func(_ *images.Dir, f sampleFamily) { f.one.Ids.SighandId = f.root.Ids.SighandId },
			"task 10289: it shares its signal handlers (CLONE_SIGHAND) with task 10287: not supported"},
		"session": {func(_ *images.Dir, f sampleFamily) { isIn(f.one, 77) },
			"task 10289: it is in session 77 and its parent 10287, which has not adopted it, in session 10287: not supported"},
		"two adopters": {func(_ *images.Dir, f sampleFamily) {
			reaper(f.root)
			reaper(f.one)
			leads(f.one)
			f.under(f.one, f.two)
			isIn(f.two, 77)
			isIn(f.dead, 77)
		}, "task 10291: it is in session 77, whose tasks have different parents, and none is its leader: not supported"},
		"wrong adopter": {func(_ *images.Dir, f sampleFamily) {
			reaper(f.root)
			reaper(f.one)
			leads(f.one)
			isIn(f.two, f.one.Pid)
		}, "task 10290: it is in session 10289 and its parent is 10287, but the subreaper of that session is another task: not supported"},
		"born twice": {func(dir *images.Dir, f sampleFamily) {
			leads(f.one)
			leads(f.two)
			f.under(f.one, f.two)
			f.under(f.two, f.dead)
			other := &images.Task{Pid: 10292, Sid: f.one.Pid, Pgid: f.one.Pid, Core: f.dead.Core,
				Parent: f.two}
			other.Threads = []images.Thread{{Tid: other.Pid, Core: other.Core}}
			dir.Tasks = append(dir.Tasks, other)
		}, "task 10292: it is in session 10289, but its parent 10290, which led its own, was born in session 10287: not supported"},
		"taken": {func(_ *images.Dir, f sampleFamily) { f.one.Pgid = 1 },
			"task 10289: number 1, of a session or process group, is taken by somebody\n  hint: " + taken},
		"no number": {func(_ *images.Dir, f sampleFamily) { f.one.Pgid = 0 },
			"task 10289: 0 is not the number of a session or process group that was dumped"},
		"number of another": {func(_ *images.Dir, f sampleFamily) { f.one.Pgid = f.two.Pid },
			"task 10289: a session or process group has the number 10290, and so has a thread that does not lead it: not supported"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := openSample(t, sampleFS(t, "tree"))
			host := hosttest.New(dir)
			host.Holder = func(id int) string {
				if id == 1 {
					return "somebody"
				}
				return ""
			}
			tc.change(dir, sampleFamily{dir.Tasks[0], dir.Tasks[1], dir.Tasks[2], dir.Tasks[3]})
			_, err := buildSample(t, dir, host, &job.Options{})
			wantRefusal(t, err, tc.want)
		})
	}
}

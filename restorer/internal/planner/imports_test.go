package planner

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/restorer/internal/host/hosttest"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// The file that has the name of one that was deleted, or that a descriptor takes the place of, is not looked into.
func TestReplacedFilesAreNotOpened(t *testing.T) {
	for what, change := range map[string]func(dir *images.Dir, exe uint32, opts *job.Options){
		"deleted": func(dir *images.Dir, exe uint32, _ *job.Options) {
			dir.Remaps = []*pb.RemapFilePathEntry{{OrigId: &exe, RemapId: pb.Uint32(1),
				RemapType: pb.RemapType_GHOST.Enum()}}
		},
		"inherited": func(dir *images.Dir, exe uint32, opts *job.Options) {
			opts.Inherit = []job.Inherited{{FD: 9, Resource: dir.Files[exe].GetReg().GetName()[1:]}}
		},
	} {
		dir, opts := openSample(t, sampleFS(t, "static")), &job.Options{}
		exe := dir.Tasks[0].Mm.GetExeFileId()
		name := dir.Files[exe].GetReg().GetName()
		plain := newPlanner(job.New(dir, hosttest.New(dir), opts), nil, nil).space(dir.Tasks[0])
		if names := plain.Names(); len(names) != 1 || names[0] != name {
			t.Fatalf("%q, want %s", names, name)
		}
		change(dir, exe, opts)
		host := hosttest.New(dir)
		stat := host.Stat
		host.Stat = func(string) (fs.FileInfo, error) { return stat(name) }
		space := newPlanner(job.New(dir, host, opts), nil, nil).space(dir.Tasks[0])
		if names := space.Names(); len(names) != 1 || names[0] != name+" (deleted)" {
			t.Fatalf("%s: %q", what, names)
		}
		if _, err := space.Open(space.Names()[0]); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

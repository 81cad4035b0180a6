package planner

import (
	"testing"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/restorer/internal/host/hosttest"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// Pages that no directory has would come back as zeros, if nobody looked.
func TestMissingPages(t *testing.T) {
	for name, tc := range map[string]struct {
		flags uint32
		want  string
	}{
		"lazy": {images.PageLazy, " are in no pages file: a lazy dump\n  hint: restore it with criu restore --lazy-pages"},
		"zero": {0, " are in no pages file: a lazy dump\n  hint: restore it with criu restore --lazy-pages"},
		"parent": {images.PageInParent, " are in the parent directory, which is missing\n" +
			"  hint: put back the directory that the link \"parent\" pointed to"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := openSample(t, sampleFS(t, "files"))
			task := dir.Tasks[0]
			task.Pagemap.Runs[0].Flags = tc.flags
			_, err := buildSample(t, dir, hosttest.New(dir), &job.Options{})
			wantRefusal(t, err, "task "+itoa(task.Pid)+": images "+task.Pagemap.Name+": run 0: ", tc.want)

			dir = openSample(t, sampleFS(t, "files"))
			for id, pm := range dir.Shmem {
				pm.Runs[0].Flags = tc.flags
				_, err := buildSample(t, dir, hosttest.New(dir), &job.Options{})
				wantRefusal(t, err, "images pagemap-shmem-"+itoa(uint32(id))+".img: run 0: ", tc.want)
			}
		})
	}
}

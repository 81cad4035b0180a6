package images

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/crpie/crpie/images/pb"
)

// manyImages is from how many images on several CPUs decode faster than one.
var manyImages = 64

// decoded is what Read has returned of an image.
type decoded struct {
	img *Image
	err error
}

// decodeEarly decodes the images of many tasks and threads side by side, where the file system allows that. What is
// wrong with one is reported when its turn comes.
func (o *opener) decodeEarly(pstree []Entry) {
	names := o.ofTasks(pstree)
	if _, several := o.dir.FS.(unwaiting); !several || len(names) < manyImages {
		return
	}
	results := make([]decoded, len(names))
	var next atomic.Int64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(names)); i = next.Add(1) - 1 {
				results[i].img, results[i].err = Read(o.dir.FS, names[i])
			}
		})
	}
	workers.Wait()
	o.early = make(map[string]decoded, len(names))
	for i, name := range names {
		o.early[name] = results[i]
	}
}

// ofTasks lists the images of tasks and threads that are there, each once.
func (o *opener) ofTasks(pstree []Entry) (names []string) {
	listed := map[string]bool{}
	add := func(format string, id uint32) {
		if name := fmt.Sprintf(format, id); o.names[name] && !listed[name] {
			listed[name] = true
			names = append(names, name)
		}
	}
	for _, e := range pstree {
		task := e.Message.(*pb.PstreeEntry)
		for _, format := range []string{"core-%d.img", "ids-%d.img", "fs-%d.img", "mm-%d.img"} {
			add(format, task.GetPid())
		}
		for _, tid := range task.GetThreads() {
			add("core-%d.img", tid)
		}
	}
	return names
}

// decode is Read, if that has not been done yet.
func (o *opener) decode(name string) (*Image, error) {
	if d, done := o.early[name]; done {
		delete(o.early, name)
		return d.img, d.err
	}
	return Read(o.dir.FS, name)
}

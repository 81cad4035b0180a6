package namespaces

import (
	"fmt"
	"os"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/refuse"
	"github.com/crpie/crpie/restorer/internal/uapi"
)

// Options say what whoever restores wants of namespaces.
type Options struct{}

// Plan says which namespaces the tasks get. It is pure.
type Plan struct {
	refuse.Collector // what cannot be had

	PID bool           // the root task is process 1 of a new one
	UTS *pb.UtsnsEntry // the names in a new one, or nil
	IPC bool           // a new one, whose objects the zygote makes

	open func(flag uint64) (*os.File, error) // set by Make
}

// New decides which namespaces the tasks of a dump get.
func New(dir *images.Dir, _ *Options) *Plan {
	its, criu := dir.Tasks[0].Ids, dir.Inventory.GetRootIds()
	p := &Plan{}
	if its == nil || criu == nil {
		return p
	}
	p.pid(dir)
	p.UTS = dir.UTS[its.GetUtsNsId()]
	p.IPC = dir.IPC[its.GetIpcNsId()] != nil
	return p
}

// pid plans a pid namespace that goes with its first process: into one that goes on without it, no first process can be
// put.
func (p *Plan) pid(dir *images.Dir) {
	root := dir.Tasks[0]
	if root.Ids.GetPidNsId() == dir.Inventory.GetRootIds().GetPidNsId() {
		return
	}
	const first = 1
	switch external := dir.PidNS[root.Ids.GetPidNsId()]; {
	case external != nil:
		p.Refuse(fmt.Sprintf("task %d", root.Pid), "restore it with criu",
			"it was in the pid namespace %s, which was not dumped: not supported", external.GetExtKey())
	case root.Pid != first:
		p.Refuse(fmt.Sprintf("task %d", root.Pid), "",
			"it had a pid namespace of its own, in which it was not process 1: the images contradict themselves")
	}
	p.PID = true
}

// A Joined namespace is made before the zygote exists, which enters it by setns(2).
type Joined struct {
	Name string
	Flag uint64 // of setns(2)
}

// Joined lists the namespaces that the zygote joins, in this order.
func (p *Plan) Joined() (all []Joined) {
	if p.IPC {
		all = append(all, Joined{"IPC namespace", uapi.CloneNewipc})
	}
	if p.UTS != nil {
		all = append(all, Joined{"UTS namespace", uapi.CloneNewuts})
	}
	return all
}

// Open gives a descriptor of one of them, once they are made.
func (p *Plan) Open(j Joined) (*os.File, error) { return p.open(j.Flag) }

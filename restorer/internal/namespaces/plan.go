package namespaces

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/internal/refuse"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/namespaces/mnt"
	"github.com/crpie/crpie/restorer/internal/namespaces/net"
)

// Options say what whoever restores wants of namespaces.
type Options struct {
	Root        string            // the directory that becomes the tasks' root; "": not given
	Mounts      map[string]string // paths on the host of external mounts, by their keys
	CgroupRoots map[string]string // where the topmost cgroups are to be, by controller
	// MountContext is the SELinux label of file systems that had one; "": not given.
	MountContext string
	// LeaveCgroups says that the tasks stay in the restorer's cgroups.
	LeaveCgroups bool
	Orphans      []string // terminals whose masters are made for somebody else, by their paths
	// Join has the namespaces that the tasks enter by their kind: "uts", "ipc", "time"; those of networks are in Net.
	Join map[string]string
	// Spare says that more may be given than is needed, as runtimes do.
	Spare bool
	// NewPIDs says that the tasks keep their numbers in a new pid namespace.
	NewPIDs bool
	Net     net.Options
}

// Plan says which namespaces the tasks get. It is pure.
type Plan struct {
	refuse.Collector                  // what cannot be had, beside the problems of Mounts
	given            refuse.Collector // what is given and takes the place of nothing

	PID   bool           // the tasks are in a new one
	First bool           // whose process 1 is one of the restorer's; false: the root task
	UTS   *pb.UtsnsEntry // the names in a new one, or nil
	IPC   bool           // a new one, whose objects the zygote makes

	Mounts *mnt.Plan // the tree in a new one, or nil
	Net    *net.Plan // another than the restorer's, or nil
	noNet  bool      // it is refused

	joins map[uint64]string // paths of those that are there already, by their flags

	open func(flag uint64) (*os.File, error) // set by Make
}

// New decides which namespaces the tasks of a dump get.
func New(dir *images.Dir, o *Options) *Plan {
	its, criu := dir.Tasks[0].Ids, dir.Inventory.GetRootIds()
	p := &Plan{joins: joins(o.Join)}
	if its == nil || criu == nil {
		p.PID, p.First = o.NewPIDs, o.NewPIDs
		return p
	}
	p.pid(dir, o)
	if !p.Joins(uapi.CloneNewuts) {
		p.UTS = dir.UTS[its.GetUtsNsId()]
	}
	if id := its.GetNetNsId(); id != criu.GetNetNsId() || o.Net.Join != "" {
		before := p.Len()
		p.Net = net.New(&p.Collector, dir, id, &o.Net)
		p.noNet = p.Len() > before
	}
	p.IPC = dir.IPC[its.GetIpcNsId()] != nil && !p.Joins(uapi.CloneNewipc)
	p.mounts(dir, o)
	if !o.Spare {
		p.checkGiven(o)
	}
	return p
}

// Problems lists everything that cannot be had, whether New or Make has found it.
func (p *Plan) Problems() *refuse.Collector {
	all := &refuse.Collector{}
	all.Add(&p.Collector)
	if p.Mounts != nil {
		all.Add(p.Mounts.Problems())
	}
	all.Add(&p.given)
	return all
}

// checkGiven refuses what is given and takes the place of nothing: it was meant for something.
func (p *Plan) checkGiven(o *Options) {
	var keys []string
	if p.Mounts != nil {
		keys = p.Mounts.Keys()
	} else if o.Root != "" {
		p.given.Refuse("--root "+o.Root, "", "the tasks had no mount namespace of their own, and have this machine's root")
	}
	for _, key := range slices.Sorted(maps.Keys(o.Mounts)) {
		if !slices.Contains(keys, key) {
			p.given.Refuse("--external mnt["+key+"]", wouldBe("mnt[", keys, "]:PATH"), "no mount in the images has this key")
		}
	}
	var takes, wants []string
	if p.Net != nil {
		takes, wants = p.Net.Takes(), p.Net.Wants()
	}
	for _, resource := range slices.Sorted(maps.Keys(o.Net.External)) {
		if !slices.Contains(takes, resource) {
			p.given.Refuse("--external "+resource, wouldBe("", wants, ":..."), "nothing in the images has this name")
		}
	}
}

// wouldBe is the hint that names what there is.
func wouldBe(before string, names []string, after string) string {
	const most = 10
	var all []string
	for _, name := range names[:min(len(names), most)] {
		all = append(all, escape.Name(before+name+after))
	}
	if len(names) > most {
		all = append(all, fmt.Sprintf("and %d more", len(names)-most))
	}
	if len(all) == 0 {
		return "leave it away: they have nothing of that kind"
	}
	return "there are: " + strings.Join(all, ", ")
}

// pid plans a pid namespace that goes with its first process: into one that goes on without it, no first process can be
// put.
func (p *Plan) pid(dir *images.Dir, o *Options) {
	root := dir.Tasks[0]
	if root.Ids.GetPidNsId() == dir.Inventory.GetRootIds().GetPidNsId() {
		p.PID, p.First = o.NewPIDs, o.NewPIDs
		return
	}
	const first = 1
	switch external := dir.PidNS[root.Ids.GetPidNsId()]; {
	case external != nil && o.NewPIDs:
		p.First = true
	case external != nil:
		p.Refuse(fmt.Sprintf("task %d", root.Pid), "use --new-pids, or restore it with criu",
			"it was in the pid namespace %s, which was not dumped: not supported", external.GetExtKey())
	case root.Pid != first:
		p.Refuse(fmt.Sprintf("task %d", root.Pid), "",
			"it had a pid namespace of its own, in which it was not process 1: the images contradict themselves")
	}
	p.PID = true
}

// mounts plans the tree of a mount namespace that all tasks were in.
func (p *Plan) mounts(dir *images.Dir, o *Options) {
	its, criu := dir.Tasks[0].Ids, dir.Inventory.GetRootIds()
	if its.GetMntNsId() == criu.GetMntNsId() {
		return
	}
	for _, t := range dir.Tasks {
		if t.Ids != nil && t.Ids.GetMntNsId() != its.GetMntNsId() {
			return // refused with what is not supported
		}
	}
	p.Mounts = mnt.New(dir, its.GetMntNsId(), &mnt.Options{
		Root: o.Root, External: o.Mounts, CgroupRoots: o.CgroupRoots, PID: p.PID,
		Cgroup: its.GetCgroupNsId() != criu.GetCgroupNsId(), LeaveCgroups: o.LeaveCgroups, Orphans: o.Orphans,
		MountContext: o.MountContext,
	})
	dir.Other = slices.DeleteFunc(dir.Other, func(name string) bool {
		return slices.Contains(p.Mounts.Images(), name)
	})
}

// A Joined namespace is made before the zygote exists, which enters it by setns(2).
type Joined struct {
	Name string
	Flag uint64 // of setns(2)
}

// Joined lists the namespaces that the zygote joins, in this order.
func (p *Plan) Joined() (all []Joined) {
	if p.Net != nil {
		all = append(all, Joined{"network namespace", uapi.CloneNewnet})
	}
	if p.IPC || p.Joins(uapi.CloneNewipc) {
		all = append(all, Joined{"IPC namespace", uapi.CloneNewipc})
	}
	if p.UTS != nil || p.Joins(uapi.CloneNewuts) {
		all = append(all, Joined{"UTS namespace", uapi.CloneNewuts})
	}
	return all
}

// Open gives a descriptor of one of them, once they are made.
func (p *Plan) Open(j Joined) (*os.File, error) { return p.open(j.Flag) }

// Entered lists all that the zygote enters: into a time namespace no thread of the controller can go before, setns(2).
func (p *Plan) Entered() []Joined {
	all := p.Joined()
	if p.Joins(uapi.CloneNewtime) {
		all = append(all, Joined{"time namespace", uapi.CloneNewtime})
	}
	return all
}

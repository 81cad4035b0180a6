package images

import (
	"fmt"
	"maps"
	"slices"

	"github.com/crpie/crpie/images/pb"
)

// checkFiles goes by file id, not by place in files.img: the ids are what messages elsewhere refer to.
func (d *Dir) checkFiles(p *problems) {
	for _, id := range slices.Sorted(maps.Keys(d.Files)) {
		d.checkFile(checker{p: p, file: "files.img", entry: -1}, d.Files[id])
	}
	for i, r := range d.Remaps {
		if r.GetRemapType() == pb.RemapType_GHOST {
			checker{p: p, file: "remap-fpath.img", entry: i}.want(d.Ghosts[r.GetRemapId()] != nil, "remap_id",
				"ghost-file-%x.img is missing", r.GetRemapId())
		}
	}
}

// checkFile checks that a file has a description of its type, and that what this refers to is there.
func (d *Dir) checkFile(c checker, f *pb.FileEntry) {
	field := fmt.Sprintf("files[id %d].", f.GetId())
	id, there := fileDetail(f)
	if !c.want(there, field+"type", "%v, but nothing describes it", f.GetType()) {
		return
	}
	c.want(id == f.GetId(), field+"id", "the description has id %d", id)
	switch f.GetType() {
	case pb.FdTypes_TTY:
		c.want(d.Ttys[f.GetTty().GetTtyInfoId()] != nil, field+"tty.tty_info_id", "%d is not in tty-info.img",
			f.GetTty().GetTtyInfoId())
	case pb.FdTypes_MEMFD:
		c.want(d.Memfds[f.GetMemfd().GetInodeId()] != nil, field+"memfd.inode_id", "%d is not in memfd.img",
			f.GetMemfd().GetInodeId())
	}
}

// fileDetail finds the message that the type of f promises, and its id.
func fileDetail(f *pb.FileEntry) (id uint32, there bool) {
	switch f.GetType() {
	case pb.FdTypes_REG:
		return detail(f.GetReg())
	case pb.FdTypes_PIPE:
		return detail(f.GetPipe())
	case pb.FdTypes_FIFO:
		return detail(f.GetFifo())
	case pb.FdTypes_INETSK:
		return detail(f.GetIsk())
	case pb.FdTypes_UNIXSK:
		return detail(f.GetUsk())
	case pb.FdTypes_EVENTFD:
		return detail(f.GetEfd())
	case pb.FdTypes_EVENTPOLL:
		return detail(f.GetEpfd())
	case pb.FdTypes_INOTIFY:
		return detail(f.GetIfy())
	case pb.FdTypes_SIGNALFD:
		return detail(f.GetSgfd())
	case pb.FdTypes_PACKETSK:
		return detail(f.GetPsk())
	case pb.FdTypes_TTY:
		return detail(f.GetTty())
	case pb.FdTypes_FANOTIFY:
		return detail(f.GetFfy())
	case pb.FdTypes_NETLINKSK:
		return detail(f.GetNlsk())
	case pb.FdTypes_NS:
		return detail(f.GetNsf())
	case pb.FdTypes_TUNF:
		return detail(f.GetTunf())
	case pb.FdTypes_EXT:
		return detail(f.GetExt())
	case pb.FdTypes_TIMERFD:
		return detail(f.GetTfd())
	case pb.FdTypes_MEMFD:
		return detail(f.GetMemfd())
	case pb.FdTypes_BPFMAP:
		return detail(f.GetBpf())
	case pb.FdTypes_PIDFD:
		return detail(f.GetPidfd())
	}
	return 0, false
}

// detail returns the id of a message, and whether there is a message.
func detail[M interface {
	comparable
	GetId() uint32
}](m M) (uint32, bool) {
	var none M
	return m.GetId(), m != none
}

// maxFd is the highest fs.nr_open that the kernel accepts (fs/file.c, sysctl_nr_open_max).
const maxFd = 1<<30 - 1

// checkFds checks numbers and files of a task's descriptors. Their image is named after the id of the table, or, in
// dumps of older CRIUs, after the task's pid.
func (d *Dir) checkFds(p *problems, t *Task) {
	name := fmt.Sprintf("fdinfo-%d.img", t.Pid)
	if d.Inventory.GetFdinfoPerId() {
		name = fmt.Sprintf("fdinfo-%d.img", t.Ids.GetFilesId())
	}
	seen := map[uint32]bool{}
	for i, e := range t.Fds {
		c := checker{p: p, file: name, entry: i}
		c.want(e.GetFd() <= maxFd, "fd", "%d is not a descriptor", e.GetFd())
		c.want(!seen[e.GetFd()], "fd", "%d occurs twice", e.GetFd())
		seen[e.GetFd()] = true
		if f := d.Files[e.GetId()]; d.Files != nil &&
			c.want(f != nil, "id", "%d is not in files.img", e.GetId()) {
			c.want(f.GetType() == e.GetType(), "type", "%v, but files.img has %v", e.GetType(), f.GetType())
		}
	}
}

// checkLostFds tells a task without descriptors, of which CRIU writes no image, from one whose image is lost: nothing
// else refers to what the lost one had open.
func (o *opener) checkLostFds() {
	if len(o.noFds) == 0 {
		return
	}
	used := o.dir.usedFiles()
	for _, id := range slices.Sorted(maps.Keys(o.dir.Files)) {
		// the end of a connection that waits to be accepted belongs to no task yet
		if used[id] || o.dir.Files[id].GetType() == pb.FdTypes_UNIXSK {
			continue
		}
		for _, name := range o.noFds {
			o.problems.add(name, -1, fmt.Errorf(
				"the image is missing: nothing that is there refers to file %d of files.img", id))
		}
		return
	}
}

// usedFiles are the ids of files to which something refers.
func (d *Dir) usedFiles() map[uint32]bool {
	used := map[uint32]bool{}
	for _, t := range d.Tasks {
		used[t.Mm.GetExeFileId()], used[t.Fs.GetCwdId()], used[t.Fs.GetRootId()] = true, true, true
		for _, v := range t.Mm.GetVmas() {
			if v.GetStatus()&(VmaFilePrivate|VmaFileShared|VmaMemfd|VmaSocket) != 0 {
				used[uint32(v.GetShmid())] = true
			}
		}
		for _, fd := range t.Fds {
			used[fd.GetId()] = true
		}
	}
	for _, r := range d.Remaps {
		used[r.GetRemapId()] = true
	}
	for _, q := range d.SkQueues {
		for _, scm := range q.Entry.GetScm() {
			for _, id := range scm.GetRights() {
				used[id] = true
			}
		}
	}
	for _, f := range d.Files {
		used[f.GetFifo().GetRegfId()], used[f.GetTty().GetRegfId()] = true, true
	}
	return used
}

// maxFilter is BPF_MAXINSNS times sizeof(struct sock_filter), linux/bpf_common.h and linux/filter.h.
const maxFilter = 4096 * 8

// checkSeccomp checks filters: arrays of struct sock_filter, 8 bytes each. A chain of filters leads to earlier entries
// only, so following it ends.
func (d *Dir) checkSeccomp(p *problems) {
	for i, f := range d.Seccomp {
		c := checker{p: p, file: "seccomp.img"}.element("seccomp_filters", i)
		n := len(f.GetFilter())
		c.want(n > 0 && n%8 == 0 && n <= maxFilter, "filter", "%d bytes, want a multiple of 8 up to %d",
			n, maxFilter)
		c.want(f.Prev == nil || int64(f.GetPrev()) < int64(i), "prev", "%d is not an earlier filter",
			f.GetPrev())
	}
}

// maxUtsName is __NEW_UTS_LEN, include/uapi/linux/utsname.h.
const maxUtsName = 64

// checkUTS refuses names that are too long for sethostname(2) and setdomainname(2).
func (d *Dir) checkUTS(p *problems) {
	for _, id := range slices.Sorted(maps.Keys(d.UTS)) {
		c := checker{p: p, file: fmt.Sprintf("utsns-%d.img", id)}
		for _, name := range []struct{ field, value string }{
			{"nodename", d.UTS[id].GetNodename()}, {"domainname", d.UTS[id].GetDomainname()},
		} {
			c.want(len(name.value) <= maxUtsName, name.field, "has %d bytes, more than %d", len(name.value),
				maxUtsName)
		}
	}
}

func (d *Dir) checkTimens(p *problems) {
	for _, id := range slices.Sorted(maps.Keys(d.Timens)) {
		c := checker{p: p, file: fmt.Sprintf("timens-%d.img", id)}
		c.want(d.Timens[id].GetMonotonic().GetTvNsec() < 1e9, "monotonic.tv_nsec", "is a second or more")
		c.want(d.Timens[id].GetBoottime().GetTvNsec() < 1e9, "boottime.tv_nsec", "is a second or more")
	}
}

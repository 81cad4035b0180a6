package images

import (
	"fmt"

	"github.com/crpie/crpie/images/pb"
)

// shared reads the images that belong to no single task, in the order of their names.
func (o *opener) shared() {
	d := o.dir
	for _, e := range o.read("cgroup.img", "CGROUP") {
		d.Cgroup = e.Message.(*pb.CgroupEntry)
	}
	d.FifoData = o.pipeData("fifo-data.img", "FIFO_DATA")
	d.Locks = messages[*pb.FileLockEntry](o.read("filelocks.img", "FILE_LOCKS"))
	o.files()
	o.ghosts()
	o.ipc()
	d.Memfds = index(o, "memfd.img", "MEMFD_INODE", "inode_id",
		func(m *pb.MemfdInodeEntry) uint32 { return uint32(m.GetInodeId()) })
	d.Shmem = map[uint64]*Pagemap{}
	for _, f := range o.numbered("pagemap-shmem-", 10) {
		d.Shmem[f.id] = o.pagemap(f.name)
	}
	d.PipeData = o.pipeData("pipes-data.img", "PIPES_DATA")
	d.Remaps = messages[*pb.RemapFilePathEntry](o.read("remap-fpath.img", "REMAP_FPATH"))
	for _, e := range o.read("seccomp.img", "SECCOMP") {
		d.Seccomp = append(d.Seccomp, e.Message.(*pb.SeccompEntry).GetSeccompFilters()...)
	}
	for _, e := range o.read("sk-queues.img", "SK_QUEUES") {
		d.SkQueues = append(d.SkQueues, &SkQueue{e.Message.(*pb.SkPacketEntry), e.Payload})
	}
	for _, e := range o.read("stats-dump", "STATS") {
		d.Stats = e.Message.(*pb.StatsEntry).GetDump()
	}
	d.TCP = map[uint32]*TCPStream{}
	for _, f := range o.numbered("tcp-stream-", 16) {
		if entries, ok := o.must(f.name, "TCP_STREAM"); ok {
			d.TCP[uint32(f.id)] = &TCPStream{entries[0].Message.(*pb.TcpStreamEntry), entries[0].Payload}
		}
	}
	d.Timens = numberedEntries[*pb.TimensEntry](o, "timens-", "TIMENS")
	d.TtyData = messages[*pb.TtyDataEntry](o.read("tty-data.img", "TTY_DATA"))
	d.Ttys = index(o, "tty-info.img", "TTY_INFO", "id", (*pb.TtyInfoEntry).GetId)
	d.UTS = numberedEntries[*pb.UtsnsEntry](o, "utsns-", "UTSNS")
	d.PidNS = numberedEntries[*pb.PidnsEntry](o, "pidns-", "PIDNS")
}

func messages[M pb.Message](entries []Entry) []M {
	list := make([]M, len(entries))
	for i, e := range entries {
		list[i] = e.Message.(M)
	}
	return list
}

// index reads an image whose entries have distinct ids.
func index[M pb.Message](o *opener, name, kind, field string, id func(M) uint32) map[uint32]M {
	return indexEntries(o, name, field, o.read(name, kind), id, func(M) bool { return false })
}

// indexEntries leaves out the entries that another one stands for.
func indexEntries[M pb.Message](o *opener, name, field string, entries []Entry, id func(M) uint32,
	leaveOut func(M) bool) map[uint32]M {
	byID := map[uint32]M{}
	for i, e := range entries {
		m := e.Message.(M)
		if leaveOut(m) {
			continue
		}
		if _, twice := byID[id(m)]; twice {
			o.problems.add(name, i, fieldErr(field, "%d occurs twice", id(m)))
		}
		byID[id(m)] = m
	}
	return byID
}

// pipeData reads what was in pipes or FIFOs: each entry names one, and its payload has the bytes.
func (o *opener) pipeData(name, kind string) map[uint32]*PipeData {
	byID := map[uint32]*PipeData{}
	for i, e := range o.read(name, kind) {
		m := e.Message.(*pb.PipeDataEntry)
		if byID[m.GetPipeId()] != nil {
			o.problems.add(name, i, fieldErr("pipe_id", "%d occurs twice", m.GetPipeId()))
		}
		byID[m.GetPipeId()] = &PipeData{m, e.Payload}
	}
	return byID
}

// files reads files.img, whose entries have distinct ids but for one pair: CRIU writes an open /dev/net/tun as a
// regular file and, with the same id, as the device behind it. The device stands for both.
func (o *opener) files() {
	problems := len(o.problems.list)
	entries := o.read("files.img", "FILES")
	if len(o.problems.list) > problems {
		return
	}
	tuns := map[uint32]bool{}
	for _, e := range entries {
		if f := e.Message.(*pb.FileEntry); f.GetType() == pb.FdTypes_TUNF {
			tuns[f.GetId()] = true
		}
	}
	o.dir.Files = indexEntries(o, "files.img", "id", entries, (*pb.FileEntry).GetId, func(f *pb.FileEntry) bool {
		return f.GetType() == pb.FdTypes_REG && tuns[f.GetId()]
	})
}

// ghosts reads files that had no name any more. CRIU names their images by hexadecimal ids. The contents follow the
// first message, or come in pieces, each behind a message with its offset.
func (o *opener) ghosts() {
	o.dir.Ghosts = map[uint32]*Ghost{}
	for _, f := range o.numbered("ghost-file-", 16) {
		entries, ok := o.must(f.name, "GHOST_FILE")
		if !ok {
			continue
		}
		g := &Ghost{Entry: entries[0].Message.(*pb.GhostFileEntry)}
		if payload := entries[0].Payload; payload.Size > 0 {
			g.Chunks = []GhostChunk{{0, payload}}
		}
		for _, e := range entries[1:] {
			chunk := e.Message.(*pb.GhostChunkEntry)
			g.Chunks = append(g.Chunks, GhostChunk{chunk.GetOff(), e.Payload})
		}
		o.dir.Ghosts[uint32(f.id)] = g
	}
}

// numberedEntries reads the images of namespaces that have one entry, and are numbered by the namespace.
func numberedEntries[M pb.Message](o *opener, prefix, kind string) map[uint32]M {
	all := map[uint32]M{}
	for _, f := range o.numbered(prefix, 10) {
		if entries, ok := o.must(f.name, kind); ok {
			all[uint32(f.id)] = entries[0].Message.(M)
		}
	}
	return all
}

// pagemap reads a pagemap and takes it and its pages file off the list of unread names.
func (o *opener) pagemap(name string) *Pagemap {
	if !o.names[name] {
		o.problems.add(name, -1, fmt.Errorf("the image is missing"))
		return nil
	}
	delete(o.names, name)
	pm, err := ReadPagemap(o.dir.FS, name)
	if err != nil {
		o.problems.list = append(o.problems.list, err)
		return nil
	}
	delete(o.names, pm.PagesFile)
	return pm
}

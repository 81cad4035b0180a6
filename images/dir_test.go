package images

import (
	"bytes"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/crpie/crpie/images/pb"
)

func TestOpenStatic(t *testing.T) {
	d := open(t, sample(t, "static"))
	if len(d.Tasks) != 1 {
		t.Fatalf("%d tasks, want 1", len(d.Tasks))
	}
	task := d.Tasks[0]
	if comm := task.Core.GetTc().GetComm(); comm != "static" || len(task.Threads) != 1 || task.Sid != task.Pid {
		t.Errorf("%s with %d threads, session %d, pid %d", comm, len(task.Threads), task.Sid, task.Pid)
	}
	exe := d.Files[task.Mm.GetExeFileId()].GetReg().GetName()
	if exe != "/srv/v/bin/static" {
		t.Errorf("exe %q", exe)
	}
	if len(d.Other) > 0 {
		t.Errorf("files nobody read: %v", d.Other)
	}
}

// change decodes the only entry of an image, lets the caller change it, and writes it back.
func change[M pb.Message](t *testing.T, dir fstest.MapFS, file string, edit func(M)) {
	t.Helper()
	changeEntry(t, dir, file, 0, edit)
}

func changeEntry[M pb.Message](t *testing.T, dir fstest.MapFS, file string, entry int, edit func(M)) {
	t.Helper()
	img, err := Read(dir, file)
	if err != nil {
		t.Fatal(err)
	}
	edit(img.Entries[entry].Message.(M))
	var out bytes.Buffer
	w, err := NewWriter(&out, file, img.Kind.Name)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range img.Entries {
		if err := w.Write(e.Message, nil); err != nil {
			t.Fatal(err)
		}
	}
	dir[file] = &fstest.MapFile{Data: out.Bytes()}
}

// one image name of the sample that matches, whatever pid it was dumped with.
func named(t *testing.T, dir fstest.MapFS, prefix string) string {
	t.Helper()
	for _, name := range fileNames(dir) {
		if len(name) > len(prefix) && name[:len(prefix)] == prefix {
			return name
		}
	}
	t.Fatalf("no image %s*", prefix)
	return ""
}

func TestOpenReportsEverythingTogether(t *testing.T) {
	dir := sample(t, "static")
	core, mmName, fds := named(t, dir, "core-"), named(t, dir, "mm-"), named(t, dir, "fdinfo-")
	change(t, dir, core, func(m *pb.CoreEntry) {
		m.Tc.Comm = pb.String("a name of twenty byte")
		m.ThreadInfo.Fpregs.StSpace = m.ThreadInfo.Fpregs.StSpace[:31]
	})
	change(t, dir, mmName, func(m *pb.MmEntry) {
		m.Vmas[1].End = m.Vmas[1].Start
		m.Vmas[3].Pgoff = pb.Uint64(12)
		m.MmSavedAuxv = m.MmSavedAuxv[1:]
	})
	changeEntry(t, dir, fds, 2, func(m *pb.FdinfoEntry) { m.Fd = pb.Uint32(1); m.Id = pb.Uint32(77) })
	d, _ := Read(sample(t, "static"), mmName)
	start := d.Entries[0].Message.(*pb.MmEntry).Vmas[1].GetStart()
	page := "0x" + hexOf(start)
	wantError(t, dir,
		"images "+core+": entry 0: field tc.comm: 21 bytes, more than 15",
		"images "+core+": entry 0: field thread_info.fpregs.st_space: 31 words, want 32",
		"images "+mmName+": entry 0: field mm_saved_auxv: 43 words, want pairs, at most 256",
		"images "+mmName+": entry 0: field vmas[1].end: "+page+" is not beyond start "+page,
		"images "+mmName+": entry 0: field vmas[3].pgoff: 0xc is not a multiple of the page size",
		"images "+named(t, dir, "pagemap-")+": field vaddr: page "+page+" lies in no VMA of "+mmName,
		"images "+fds+": entry 2: field fd: 1 occurs twice",
		"images "+fds+": entry 2: field id: 77 is not in files.img",
	)
}

func TestOpenNeedsItsImages(t *testing.T) {
	dir := sample(t, "static")
	fs, pages := named(t, dir, "fs-"), named(t, dir, "pages-")
	delete(dir, fs)
	dir[pages] = &fstest.MapFile{Data: make([]byte, PageSize)}
	dir["netns-9.img"] = &fstest.MapFile{}
	img, err := Read(dir, named(t, dir, "pagemap-"))
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, dir,
		"images "+fs+": the image is missing",
		"images "+img.Name+": entry 0: field pages_id: "+pages+" has 4096 bytes, the entries need "+
			decimal(pagesSize(img)),
	)
}

func TestOtherNamesWhatNobodyRead(t *testing.T) {
	dir := sample(t, "static")
	dir["netns-9.img"] = &fstest.MapFile{}
	for _, name := range []string{"dump.log", "pid", "README", "config.dump", "irmap-cache", "img", "fifo.im"} {
		dir[name] = &fstest.MapFile{}
	}
	if d := open(t, dir); !slices.Equal(d.Other, []string{"netns-9.img"}) {
		t.Errorf("Other: %v, want netns-9.img", d.Other)
	}
}

func TestTreeRules(t *testing.T) {
	entry := func(pid, ppid uint32, threads ...uint32) *pb.PstreeEntry {
		return &pb.PstreeEntry{Pid: &pid, Ppid: &ppid, Pgid: &pid, Sid: &pid, Threads: threads}
	}
	pid := open(t, sample(t, "static")).Tasks[0].Pid // of which there is a core image
	p := decimal(int(pid))
	for _, tc := range []struct {
		entries []*pb.PstreeEntry
		want    string
	}{
		{[]*pb.PstreeEntry{entry(0, 0, 0)}, "entry 0: field pid: 0 is not between 1 and 4194304"},
		{[]*pb.PstreeEntry{entry(pid, 0)},
			"entry 0: field threads: " + p + " is not the first thread of its task"},
		{[]*pb.PstreeEntry{entry(pid, 0, pid, pid)}, "entry 0: field threads[1]: " + p + " occurs twice"},
		{[]*pb.PstreeEntry{entry(pid, 9, pid)},
			"entry 0: field ppid: 9 is not a task listed before its child " + p},
	} {
		dir := sample(t, "static")
		var out bytes.Buffer
		if err := WriteImage(&out, "pstree.img", "PSTREE", tc.entries...); err != nil {
			t.Fatal(err)
		}
		dir["pstree.img"] = &fstest.MapFile{Data: out.Bytes()}
		wantError(t, dir, "images pstree.img: "+tc.want)
	}
}

func TestPagemapRules(t *testing.T) {
	entry := func(vaddr uint64, pages uint32, flags uint32) *pb.PagemapEntry {
		return &pb.PagemapEntry{Vaddr: &vaddr, CompatNrPages: &pages, Flags: &flags}
	}
	for _, tc := range []struct {
		entries []*pb.PagemapEntry
		want    string
	}{
		{[]*pb.PagemapEntry{entry(0x1001, 1, 4)},
			"entry 1: field vaddr: 0x1001 is not a multiple of the page size"},
		{[]*pb.PagemapEntry{entry(0x1000, 0, 4)}, "entry 1: field nr_pages: 0"},
		{[]*pb.PagemapEntry{entry(0x1000, 1, 64)}, "entry 1: field flags: unknown bits 0x40"},
		{[]*pb.PagemapEntry{entry(0x2000, 2, 4), entry(0x3000, 1, 4)},
			"entry 2: field vaddr: 0x3000 lies before the end of the previous entry, 0x4000"},
		{[]*pb.PagemapEntry{entry(1<<56-PageSize, 2, 4)},
			"entry 1: field nr_pages: 2 pages from 0xfffffffffff000 end beyond any user address"},
	} {
		_, err := ReadPagemap(pagemapFS(t, 0, tc.entries...), "pagemap-7.img")
		if err == nil || err.Error() != "images pagemap-7.img: "+tc.want {
			t.Errorf("%v\nwant %s", err, tc.want)
		}
	}
}

// pagemapFS is a directory with one pagemap and a pages file of so many pages.
func pagemapFS(t *testing.T, pages int, entries ...*pb.PagemapEntry) fstest.MapFS {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, "pagemap-7.img", "PAGEMAP")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(&pb.PagemapHead{PagesId: pb.Uint32(1)}, nil); err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := w.Write(e, nil); err != nil {
			t.Fatal(err)
		}
	}
	return fstest.MapFS{
		"pagemap-7.img": &fstest.MapFile{Data: out.Bytes()},
		"pages-1.img":   &fstest.MapFile{Data: make([]byte, pages*PageSize)},
	}
}

// Pages left in the parent are found there, whichever entries the parent has them in; neighbours come out merged.
func TestPiecesOfAnIncrementalDump(t *testing.T) {
	entry := func(vaddr uint64, pages uint64, flags uint32) *pb.PagemapEntry {
		return &pb.PagemapEntry{Vaddr: &vaddr, CompatNrPages: pb.Uint32(0), NrPages: &pages, Flags: &flags}
	}
	child := pagemapFS(t, 3, entry(0x1000, 1, PagePresent), entry(0x2000, 4, PageInParent),
		entry(0x6000, 1, PagePresent),
		entry(0x7000, 1, PagePresent))
	parent := pagemapFS(t, 6, entry(0x1000, 3, PagePresent), entry(0x4000, 3, PagePresent|PageLazy))
	pm, err := ReadPagemap(child, "pagemap-7.img")
	if err != nil {
		t.Fatal(err)
	}
	d := &Dir{FS: child, Parent: &Dir{FS: parent}}
	got, err := d.Pieces(pm)
	want := []Piece{
		{0x1000, 1, 0, "pages-1.img", 0},
		{0x2000, 2, 1, "pages-1.img", 0x1000},
		{0x4000, 2, 1, "pages-1.img", 0x3000},
		{0x6000, 2, 0, "pages-1.img", 0x1000},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v\nwant %v", got, err, want)
	}
	grandchild := pagemapFS(t, 1, entry(0x1000, 2, PageInParent), entry(0x3000, 1, PagePresent),
		entry(0x4000, 4, PageInParent))
	if pm, err = ReadPagemap(grandchild, "pagemap-7.img"); err != nil {
		t.Fatal(err)
	}
	got, err = (&Dir{FS: grandchild, Parent: d}).Pieces(pm)
	want = []Piece{
		{0x1000, 1, 1, "pages-1.img", 0},
		{0x2000, 1, 2, "pages-1.img", 0x1000},
		{0x3000, 1, 0, "pages-1.img", 0},
		{0x4000, 2, 2, "pages-1.img", 0x3000},
		{0x6000, 2, 1, "pages-1.img", 0x1000},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v\nwant %v", got, err, want)
	}
}

func TestPiecesThatAreNowhere(t *testing.T) {
	entry := func(vaddr uint64, pages uint32, flags uint32) *pb.PagemapEntry {
		return &pb.PagemapEntry{Vaddr: &vaddr, CompatNrPages: &pages, Flags: &flags}
	}
	present, lazy, above := entry(0x2000, 4, PagePresent), entry(0x2000, 4, PageLazy),
		entry(0x2000, 4, PageInParent)
	for name, tc := range map[string]struct {
		entry  *pb.PagemapEntry
		parent fs.FS
		want   string
	}{
		"lazy":        {lazy, nil, "4 pages at 0x2000 are in no pages file: a lazy dump"},
		"lazy parent": {above, pagemapFS(t, 0, lazy), "4 pages at 0x2000 are in no pages file: a lazy dump"},
		"no parent":   {above, nil, "4 pages at 0x2000 are in the parent directory, which is missing"},
		"no grandparent": {above, pagemapFS(t, 0, above),
			"4 pages at 0x2000 are in the parent directory, which is missing"},
		"no pagemap": {above, fstest.MapFS{}, "parent directory: images pagemap-7.img: file does not exist"},
		"begins late": {above, pagemapFS(t, 3, entry(0x3000, 3, PagePresent)),
			"the parent's pagemap-7.img has no page 0x2000"},
		"ends early": {above, pagemapFS(t, 3, entry(0x2000, 3, PagePresent)),
			"the parent's pagemap-7.img has no page 0x5000"},
		"gap": {above, pagemapFS(t, 3, entry(0x2000, 1, PagePresent), entry(0x4000, 2, PagePresent)),
			"the parent's pagemap-7.img has no page 0x3000"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := pagemapFS(t, 4, entry(0x1000, 1, PagePresent), tc.entry)
			pm, err := ReadPagemap(dir, "pagemap-7.img")
			if err != nil {
				t.Fatal(err)
			}
			d := &Dir{FS: dir}
			if tc.parent != nil {
				d.Parent = &Dir{FS: tc.parent}
			}
			_, err = d.Pieces(pm)
			if want := "images pagemap-7.img: run 1: " + tc.want; err == nil || err.Error() != want {
				t.Errorf("%v\nwant %s", err, want)
			}
		})
	}
	d := &Dir{FS: pagemapFS(t, 4, present)}
	if _, err := d.Read(Range{Level: 1, File: "pages-1.img"}); err == nil ||
		err.Error() != "images pages-1.img: there is no parent directory of level 1" {
		t.Error(err)
	}
}

// A fifo among the images is not waited for.
func TestIrregularFiles(t *testing.T) {
	dir := sample(t, "static")
	name := named(t, dir, "mm-")
	dir[name].Mode = fs.ModeNamedPipe
	wantError(t, dir, "images "+name+": is a p---------, want a regular file")
}

// An image to which others refer is complained about alone when it cannot be read.
func TestUnreadableFilesAreReportedOnce(t *testing.T) {
	dir := sample(t, "glibc")
	dir["files.img"].Data = dir["files.img"].Data[:20]
	if _, err := Open(dir); err == nil || strings.Count(err.Error(), "files.img") != 1 ||
		strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
}

func BenchmarkOpen(b *testing.B) {
	dir := sample(b, "glibc")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Open(dir); err != nil {
			b.Fatal(err)
		}
	}
}

// What the glibc victim had open and pending, as testdata/victims/glibc says.
func TestOpenFilesAndSignals(t *testing.T) {
	dir := sample(t, "files")
	d := open(t, dir)
	task := d.Tasks[0]
	if len(d.PipeData) != 1 || len(d.Memfds) == 0 || len(d.Shmem) != 1 {
		t.Fatalf("%d pipes with data, %d memfds, %d shared segments", len(d.PipeData), len(d.Memfds),
			len(d.Shmem))
	}
	for _, p := range d.PipeData {
		got, err := ReadRange(d.FS, p.Data)
		if err != nil || string(got) != "pipe contents" || p.Entry.GetSize() != 1<<17 {
			t.Errorf("pipe of %d bytes holds %q, %v", p.Entry.GetSize(), got, err)
		}
	}
	if n := len(task.Core.GetTc().GetSignalsS().GetSignals()); n != 4 {
		t.Errorf("%d signals pending for the process, want 4", n)
	}
	if n := len(task.Core.GetThreadCore().GetSignalsP().GetSignals()); n != 3 {
		t.Errorf("%d signals pending for the thread, want 3", n)
	}
	if n := len(task.Core.GetTc().GetTimers().GetPosix()); n != 4 {
		t.Errorf("%d posix timers, want 4", n)
	}
}

func TestOpenThreads(t *testing.T) {
	task := open(t, sample(t, "threads")).Tasks[0]
	if len(task.Threads) != 33 || task.Threads[32].Core.GetThreadCore().GetComm() != "victim-31" {
		t.Errorf("%d threads, the last one %s", len(task.Threads),
			task.Threads[32].Core.GetThreadCore().GetComm())
	}
}

// The filters form a chain: the second one names the first.
func TestOpenSeccomp(t *testing.T) {
	d := open(t, sample(t, "seccomp"))
	if len(d.Seccomp) != 2 || d.Seccomp[1].GetPrev() != 0 || d.Seccomp[0].Prev != nil {
		t.Errorf("filters %v", d.Seccomp)
	}
	if th := d.Tasks[0].Core.GetThreadCore(); th.GetSeccompFilter() != 1 || th.GetCreds().GetUid() != 1001 {
		t.Errorf("filter %d, uid %d", th.GetSeccompFilter(), th.GetCreds().GetUid())
	}
}

// A parent, two children and a third that has exited and not been waited for: of that one there is only a core image.
func TestOpenTree(t *testing.T) {
	d := open(t, sample(t, "tree"))
	root := d.Tasks[0]
	if len(d.Tasks) != 4 || len(root.Children) != 3 || root.Parent != nil {
		t.Fatalf("%d tasks, %d children of the root", len(d.Tasks), len(root.Children))
	}
	for i, child := range root.Children {
		if child.Parent != root || child.Ppid != root.Pid || child.Dead() != (i == 2) ||
			(child.Mm == nil) != (i == 2) {
			t.Errorf("child %d: task %d of %d, dead %v", i, child.Pid, child.Ppid, child.Dead())
		}
	}
	if code := root.Children[2].Core.GetTc().GetExitCode(); code != 7<<8 {
		t.Errorf("exit code of the dead child is %#x, want 0x700", code)
	}
	if len(d.Other) > 0 {
		t.Errorf("files nobody read: %v", d.Other)
	}
}

// CRIU numbers the images of ghost files in hexadecimal.
func TestOpenGhosts(t *testing.T) {
	dir := sample(t, "static")
	for i, name := range []string{"ghost-file-10.img", "ghost-file-1e.img"} {
		var b bytes.Buffer
		if err := WriteImage(&b, name, "GHOST_FILE", &pb.GhostFileEntry{
			Uid: pb.Uint32(uint32(i)), Gid: pb.Uint32(0), Mode: pb.Uint32(0o100600)}); err != nil {
			t.Fatal(err)
		}
		dir[name] = &fstest.MapFile{Data: b.Bytes()}
	}
	ghosts := open(t, dir).Ghosts
	if len(ghosts) != 2 || ghosts[0x10].Entry.GetUid() != 0 || ghosts[0x1e].Entry.GetUid() != 1 {
		t.Errorf("ghosts %v, want 0x10 and 0x1e", slices.Collect(maps.Keys(ghosts)))
	}
}

func TestOpenIPC(t *testing.T) {
	dir := sample(t, "static")
	write := func(name, kind string, m pb.Message, payload []byte) {
		t.Helper()
		var b bytes.Buffer
		w, err := NewWriter(&b, name, kind)
		if err == nil {
			err = w.Write(m, payload)
		}
		if err != nil {
			t.Fatal(err)
		}
		dir[name] = &fstest.MapFile{Data: b.Bytes()}
	}
	desc := &pb.IpcDescEntry{Key: pb.Uint32(1), Uid: pb.Uint32(2), Gid: pb.Uint32(3), Cuid: pb.Uint32(4),
		Cgid: pb.Uint32(5), Mode: pb.Uint32(0o600), Id: pb.Uint32(7)}
	one := pb.Uint32(1)
	write("ipcns-var-9.img", "IPC_VAR",
		&pb.IpcVarEntry{MsgCtlmax: one, MsgCtlmnb: one, MsgCtlmni: one, AutoMsgmni: one,
			ShmCtlmax: pb.Uint64(1), ShmCtlall: pb.Uint64(1), ShmCtlmni: one, ShmRmidForced: one,
			MqQueuesMax: one, MqMsgMax: one,
			MqMsgsizeMax: one}, nil)
	write("ipcns-sem-9.img", "IPCNS_SEM", &pb.IpcSemEntry{Desc: desc, Nsems: pb.Uint32(3)},
		[]byte{1, 0, 2, 0, 3, 0, 0, 0})
	var message bytes.Buffer
	if err := (&Writer{&message, "message"}).Write(&pb.IpcMsg{Mtype: pb.Uint64(5), Msize: pb.Uint32(3)},
		[]byte("abc+++++")); err != nil {
		t.Fatal(err)
	}
	queue := &pb.IpcMsgEntry{Desc: desc, Qbytes: one, Qnum: pb.Uint32(2)}
	write("ipcns-msg-9.img", "IPCNS_MSG", queue, slices.Concat(message.Bytes(), message.Bytes()))

	d := open(t, dir)
	ns := d.IPC[9]
	if ns == nil || len(d.IPC) != 1 || len(d.Other) != 0 || len(ns.Sems) != 1 || len(ns.Queues) != 1 ||
		len(ns.Queues[0].Messages) != 2 {
		t.Fatalf("IPC %+v, other images %v", ns, d.Other)
	}
	if m := ns.Queues[0].Messages[1]; m.Type != 5 || string(m.Text) != "abc" {
		t.Errorf("message %+v", m)
	}
	if b, err := ReadRange(d.FS, ns.Sems[0].Values); err != nil || !bytes.Equal(b[:6], []byte{1, 0, 2, 0, 3, 0}) {
		t.Errorf("semaphores %v, %v", b, err)
	}
	write("ipcns-msg-9.img", "IPCNS_MSG", queue, message.Bytes())
	wantError(t, dir, "images ipcns-msg-9.img: entry 0: queued messages: EOF")
}

// A TCP connection's image is named after the inode of its socket, in hexadecimal, and ends with its two queues.
func TestOpenTCPStream(t *testing.T) {
	dir := sample(t, "static")
	entry := &pb.TcpStreamEntry{
		InqLen: pb.Uint32(3), InqSeq: pb.Uint32(1), OutqLen: pb.Uint32(2), OutqSeq: pb.Uint32(1),
		OptMask: pb.Uint32(0), SndWscale: pb.Uint32(0), MssClamp: pb.Uint32(1),
	}
	var out bytes.Buffer
	w, err := NewWriter(&out, "tcp-stream-1a.img", "TCP_STREAM")
	if err == nil {
		err = w.Write(entry, []byte("inout"))
	}
	if err != nil {
		t.Fatal(err)
	}
	dir["tcp-stream-1a.img"] = &fstest.MapFile{Data: out.Bytes()}
	d := open(t, dir)
	stream := d.TCP[0x1a]
	if stream == nil || stream.Entry.GetInqLen() != 3 || len(d.Other) > 0 {
		t.Fatalf("streams %v, other files %v", d.TCP, d.Other)
	}
	if data, err := ReadRange(d.FS, stream.Data); err != nil || string(data) != "inout" {
		t.Errorf("queues %q, %v", data, err)
	}
	dir["tcp-stream-1a.img"].Data = out.Bytes()[:out.Len()-1]
	if _, err := Open(dir); err == nil ||
		!strings.Contains(err.Error(), "tcp-stream-1a.img: entry 0: payload at offset") {
		t.Errorf("error %v", err)
	}
}

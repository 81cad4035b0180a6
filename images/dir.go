package images

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/uapi"
)

// Dir is a decoded and checked image directory. Its values are read-only.
type Dir struct {
	FS     fs.FS // the files, for page contents and payloads
	Parent *Dir  // of an incremental dump, or nil

	Inventory *pb.InventoryEntry
	Tasks     []*Task                  // as pstree.img lists them: parents before children, the root first
	Files     map[uint32]*pb.FileEntry // files.img, by id
	Seccomp   []*pb.SeccompFilter      // seccomp.img; task_core_entry.seccomp_filter is an index
	Cgroup    *pb.CgroupEntry          // or nil
	Stats     *pb.DumpStatsEntry       // of the dump, or nil
	Timens    map[uint32]*pb.TimensEntry
	UTS       map[uint32]*pb.UtsnsEntry // by task_kobj_ids_entry.uts_ns_id
	PidNS     map[uint32]*pb.PidnsEntry // external ones, by task_kobj_ids_entry.pid_ns_id
	Shmem     map[uint64]*Pagemap       // contents of shared memory, by shmid
	Memfds    map[uint32]*pb.MemfdInodeEntry
	PipeData  map[uint32]*PipeData // by pipe_id
	FifoData  map[uint32]*PipeData
	SkQueues  []*SkQueue
	Ttys      map[uint32]*pb.TtyInfoEntry
	TtyData   []*pb.TtyDataEntry
	Remaps    []*pb.RemapFilePathEntry
	Ghosts    map[uint32]*Ghost
	Locks     []*pb.FileLockEntry
	IPC       map[uint32]*IPC       // IPC namespaces, by task_kobj_ids_entry.ipc_ns_id
	TCP       map[uint32]*TCPStream // by inode

	// Other names the files that Open has not looked into, sorted: Read decodes most of them. A restorer that
	// does not know what they are for must refuse.
	Other []string
	// Unknown names fields that only a newer CRIU knows: "core-1.img: entry 0: field tc.23".
	Unknown []string
}

// TaskByPid finds a task; nil if there is none of that pid.
func (d *Dir) TaskByPid(pid uint32) *Task {
	for _, t := range d.Tasks {
		if t.Pid == pid {
			return t
		}
	}
	return nil
}

// OwnNamespace reports whether the tasks were in another namespace of a kind than CRIU was; id gives the kind's.
func (d *Dir) OwnNamespace(id func(*pb.TaskKobjIdsEntry) uint32) bool {
	its, criu := d.Tasks[0].Ids, d.Inventory.GetRootIds()
	return its != nil && criu != nil && id(its) != id(criu)
}

// SigactionIndex gives the index of the action of a signal in TaskCoreEntry's, which leave SIGKILL and SIGSTOP out.
func SigactionIndex(sig int) int {
	index := sig - 1
	for _, uncatchable := range []int{uapi.SigKill, uapi.SigStop} {
		if sig > uncatchable {
			index--
		}
	}
	return index
}

// Task is one process of the tree.
type Task struct {
	Pid, Ppid, Pgid, Sid uint32
	Parent               *Task // or nil
	Children             []*Task

	Core    *pb.CoreEntry // of the leader: Threads[0].Core
	Threads []Thread      // the leader first

	// A dead task (zombie) has none of these.
	Ids *pb.TaskKobjIdsEntry
	Mm  *pb.MmEntry // Vmas are the mappings alone, by address
	// guard regions inside of them (MADV_GUARD_INSTALL), which CRIU lists behind the mappings
	Guards  []*pb.VmaEntry
	Fs      *pb.FsEntry
	Fds     []*pb.FdinfoEntry
	Pagemap *Pagemap
}

// Thread is one thread of a task.
type Thread struct {
	Tid  uint32
	Core *pb.CoreEntry
}

// States of task_core_entry.task_state (CRIU's compel/include/uapi/task-state.h).
const (
	StateAlive   = 1
	StateDead    = 2
	StateStopped = 3
	StateZombie  = 6
)

// Dead reports whether the task had exited and waited for its parent.
func (t *Task) Dead() bool {
	state := t.Core.GetTc().GetTaskState()
	return state == StateDead || state == StateZombie
}

// PipeData is what was in a pipe or fifo.
type PipeData struct {
	Entry *pb.PipeDataEntry
	Data  Range
}

// SkQueue is one packet in a socket's queue.
type SkQueue struct {
	Entry *pb.SkPacketEntry
	Data  Range
}

// TCPStream is a TCP connection: what was in its receive queue, then what was in its send queue.
type TCPStream struct {
	Entry *pb.TcpStreamEntry
	Data  Range
}

// Ghost is a file that had no name any more when it was dumped.
type Ghost struct {
	Entry  *pb.GhostFileEntry
	Chunks []GhostChunk
}

// GhostChunk is a part of a ghost file's contents.
type GhostChunk struct {
	FileOffset uint64
	Data       Range
}

// Open decodes everything that the restore of a task tree needs and checks it. The parents of an incremental dump come
// nearest first. All problems are reported together, in the order of the files.
func Open(fsys fs.FS, parents ...fs.FS) (*Dir, error) {
	o := &opener{dir: &Dir{FS: fsys}, fdsByID: map[uint32][]*pb.FdinfoEntry{}}
	if len(parents) > 0 {
		parent := &Dir{FS: parents[0]}
		o.dir.Parent = parent
		for _, next := range parents[1:] {
			parent.Parent = &Dir{FS: next}
			parent = parent.Parent
		}
	}
	if !o.list() || !o.inventory() {
		return nil, o.problems.err()
	}
	o.shared()
	o.tasks()
	o.dir.check(&o.problems)
	o.checkLostFds()
	if err := o.problems.err(); err != nil {
		return nil, err
	}
	o.dir.Other = slices.Sorted(maps.Keys(o.names))
	return o.dir, nil
}

// opener fills a Dir.
type opener struct {
	dir      *Dir
	names    map[string]bool // files that are not read yet
	fdsByID  map[uint32][]*pb.FdinfoEntry
	noFds    []string // images of descriptors that are not there
	early    map[string]decoded
	problems problems
}

// IsImage tells by its name whether a file can be a part of a dump: CRIU calls all images NAME.img, but for the
// statistics. Beside them lie logs, pidfiles, caches for the next dump, and whatever runtimes and people note.
func IsImage(name string) bool { return strings.HasSuffix(name, ".img") || name == "stats-dump" }

// list notes the names of the images.
func (o *opener) list() bool {
	names, err := namesIn(o.dir.FS)
	if err != nil {
		o.problems.add(".", -1, plainCause(err))
		return false
	}
	o.names = make(map[string]bool, len(names))
	for _, name := range names {
		if IsImage(name) {
			o.names[name] = true
		}
	}
	return true
}

// namesIn lists the names in a file system's top directory. fs.ReadDir would look at each file below an os.Root.
func namesIn(fsys fs.FS) (names []string, err error) {
	if _, quick := fsys.(unwaiting); quick {
		top, err := fsys.Open(".")
		if err != nil {
			return nil, err
		}
		defer top.Close()
		if dir, ok := top.(interface{ Readdirnames(n int) ([]string, error) }); ok {
			return dir.Readdirnames(-1)
		}
	}
	entries, err := fs.ReadDir(fsys, ".")
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

// read decodes name, whose kind must be the one given. A file that is not there gives nil: callers for whom it must be
// there use must.
func (o *opener) read(name, kind string) []Entry {
	if !o.names[name] {
		return nil
	}
	delete(o.names, name)
	img, err := o.decode(name)
	if err == nil && img.Kind.Name != kind {
		err = &Error{name, -1, fmt.Errorf("is an image of kind %s, want %s", img.Kind.Name, kind)}
	}
	if err != nil {
		o.problems.list = append(o.problems.list, err)
		return nil
	}
	for _, u := range img.Unknown {
		o.dir.Unknown = append(o.dir.Unknown, name+": "+u)
	}
	return img.Entries
}

// must is read for an image with at least one entry; ok is false after a problem.
func (o *opener) must(name, kind string) (entries []Entry, ok bool) {
	if !o.names[name] {
		o.problems.add(name, -1, fmt.Errorf("the image is missing"))
		return nil, false
	}
	before := len(o.problems.list)
	entries = o.read(name, kind)
	if len(o.problems.list) > before {
		return nil, false
	}
	if len(entries) == 0 {
		o.problems.add(name, -1, fmt.Errorf("the image has no entry"))
	}
	return entries, len(entries) > 0
}

// numbered lists the unread files named prefixN.img with their N, which CRIU writes in this base, by name.
func (o *opener) numbered(prefix string, base int) []numberedName {
	var found []numberedName
	for name := range o.names {
		digits, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		digits, ok = strings.CutSuffix(digits, ".img")
		if n, err := strconv.ParseUint(digits, base, 64); ok && err == nil {
			found = append(found, numberedName{n, name})
		}
	}
	slices.SortFunc(found, func(a, b numberedName) int { return strings.Compare(a.name, b.name) })
	return found
}

type numberedName struct {
	id   uint64
	name string
}

// imgVersions are the values of inventory_entry.img_version that exist: 1 has no common magic, 2 has it.
const maxImgVersion = 2

// inventory reads inventory.img, which gives the version of all images. Open reads nothing else without it.
func (o *opener) inventory() bool {
	entries, ok := o.must("inventory.img", "INVENTORY")
	if !ok {
		return false
	}
	inv := entries[0].Message.(*pb.InventoryEntry)
	if v := inv.GetImgVersion(); v < 1 || v > maxImgVersion {
		o.problems.add("inventory.img", 0,
			fieldErr("img_version", "%d is not known here, want 1 or %d", v, maxImgVersion))
		return false
	}
	o.dir.Inventory = inv
	return true
}

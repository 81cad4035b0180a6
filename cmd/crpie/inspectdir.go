package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sort"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/graft"
	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/internal/exports"
	"github.com/crpie/crpie/internal/files"
	"github.com/crpie/crpie/internal/seccomp"
)

// inspectImages is crpie inspect -D and --archive.
func inspectImages(std streams, from imageSource, format string, f *pflag.FlagSet) int {
	switch {
	case from.dir != "" && from.archive != "":
		return misuse(std, inspectUsage, "give either -D DIR or --archive FILE")
	case f.NArg() > 0 || f.Changed("base") || f.Changed("core") || f.Changed("disasm"):
		return misuse(std, inspectUsage, "images and objects are inspected one at a time")
	case format != "text" && format != "json":
		return misuse(std, inspectUsage, "unknown format %q", format)
	}
	w := bufio.NewWriter(std.out)
	show := func(fsys fs.FS) error {
		v, err := newImagesView(fsys)
		if err != nil {
			return err
		}
		if format == "json" {
			return writeJSON(w, v)
		}
		v.text(w)
		return nil
	}
	if err := errors.Join(from.with(show), w.Flush()); err != nil {
		complain(std, err)
		return exitFailed
	}
	return exitOK
}

// imageSource is a directory or an archive.
type imageSource struct {
	dir, archive string
	limits       graft.Limits
}

// with opens the directory or the archive, and calls show with its images.
func (s imageSource) with(show func(fs.FS) error) error {
	if s.archive != "" {
		return graft.ReadArchive(s.archive, s.limits, show)
	}
	root, err := files.OpenDir(s.dir)
	if err != nil {
		return fmt.Errorf("images: %w", err)
	}
	defer root.Close()
	return show(files.FS(root))
}

// imagesView is what crpie inspect tells about images; its members are the JSON document.
type imagesView struct {
	SchemaVersion int               `json:"schema_version"`
	ImgVersion    uint32            `json:"img_version"`
	Dumped        time.Time         `json:"dumped"`
	Tasks         []taskView        `json:"tasks"`
	NotDecoded    []string          `json:"not_decoded,omitempty"`
	Graft         *graft.Provenance `json:"graft,omitempty"`
}

type taskView struct {
	Pid     uint32       `json:"pid"`
	Ppid    uint32       `json:"ppid"`
	Pgid    uint32       `json:"pgid"`
	Sid     uint32       `json:"sid"`
	Comm    string       `json:"comm"`
	State   string       `json:"state"`
	Exe     string       `json:"exe,omitempty"`
	Cwd     string       `json:"cwd,omitempty"`
	Threads []threadView `json:"threads,omitempty"`
	Memory  []memoryView `json:"memory,omitempty"`
	Here    int64        `json:"bytes_here"`
	Parent  uint64       `json:"bytes_in_parent"`
	Fds     []fdView     `json:"fds,omitempty"`

	Resident        []residentView `json:"resident_hooks,omitempty"`
	ResidentDamaged []string       `json:"resident_hooks_damaged,omitempty"`
	depth           int
}

type threadView struct {
	Tid     uint32    `json:"tid"`
	Comm    string    `json:"comm"`
	Ip      blob.Addr `json:"ip"`
	Sp      blob.Addr `json:"sp"`
	Blocked string    `json:"blocked"`
	Seccomp string    `json:"seccomp,omitempty"`
	Filters []uint32  `json:"seccomp_filters,omitempty"` // positions in seccomp.img, newest first
}

type memoryView struct {
	Start blob.Addr `json:"start"`
	End   blob.Addr `json:"end"`
	Prot  string    `json:"prot"`
	Name  string    `json:"name,omitempty"`
	Pages uint64    `json:"pages"` // with contents in these images or their parent
}

type fdView struct {
	Fd   uint32 `json:"fd"`
	Type string `json:"type"`
	Name string `json:"name,omitempty"`
}

// newImagesView describes the images of a directory. The time of the dump is the time of the inventory, which CRIU
// writes last.
func newImagesView(fsys fs.FS) (*imagesView, error) {
	d, err := images.Open(fsys)
	if err != nil {
		return nil, err
	}
	v := &imagesView{SchemaVersion: 1, ImgVersion: d.Inventory.GetImgVersion(), Tasks: []taskView{}}
	for _, name := range d.Other {
		if name != graft.ProvenanceFile {
			v.NotDecoded = append(v.NotDecoded, name)
		}
	}
	info, err := fs.Stat(fsys, "inventory.img")
	if err != nil {
		return nil, err
	}
	v.Dumped = info.ModTime().UTC().Truncate(time.Second)
	mapped := &exports.Files{}
	for _, t := range d.Tasks {
		v.Tasks = append(v.Tasks, newTaskView(d, t, mapped))
	}
	if v.Graft, err = graft.ReadProvenance(fsys); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return v, nil
}

func taskStates() map[uint32]string {
	return map[uint32]string{
		images.StateAlive: "alive", images.StateDead: "dead", images.StateStopped: "stopped",
		images.StateZombie: "zombie",
	}
}

// newTaskView describes a task. CRIU dumps no memory, files or threads of a zombie.
func newTaskView(d *images.Dir, t *images.Task, mapped *exports.Files) taskView {
	tc := t.Core.GetTc()
	v := taskView{Pid: t.Pid, Ppid: t.Ppid, Pgid: t.Pgid, Sid: t.Sid, Comm: tc.GetComm(),
		State: taskStates()[tc.GetTaskState()]}
	for p := t.Parent; p != nil; p = p.Parent {
		v.depth++
	}
	if t.Dead() {
		return v
	}
	v.Exe = d.Files[t.Mm.GetExeFileId()].GetReg().GetName()
	v.Cwd = d.Files[t.Fs.GetCwdId()].GetReg().GetName()
	for _, th := range t.Threads {
		v.Threads = append(v.Threads, newThreadView(d, th))
	}
	for _, m := range t.Mm.GetVmas() {
		v.Memory = append(v.Memory, newMemoryView(d, t, m))
	}
	v.Here = t.Pagemap.Bytes()
	for _, r := range t.Pagemap.Runs {
		if r.InParent() {
			v.Parent += r.Pages * images.PageSize
		}
	}
	for _, fd := range t.Fds {
		v.Fds = append(v.Fds, newFdView(d, fd))
	}
	v.Resident, v.ResidentDamaged = viewResident(d, t, mapped)
	return v
}

func newThreadView(d *images.Dir, th images.Thread) threadView {
	regs, tc := th.Core.GetThreadInfo().GetGpregs(), th.Core.GetThreadCore()
	v := threadView{
		Tid: th.Tid, Comm: strings.TrimSpace(tc.GetComm()), Ip: blob.Addr(regs.GetIp()),
		Sp:      blob.Addr(regs.GetSp()),
		Blocked: fmt.Sprintf("%016x", tc.GetBlkSigset()),
	}
	if mode := tc.GetSeccompMode().String(); mode != "disabled" {
		v.Seccomp = mode
	}
	if tc.GetSeccompMode() == pb.SeccompMode_filter {
		// a chain that is too long for Linux is left out
		v.Filters, _ = seccomp.New(d.Seccomp).Chain(tc.GetSeccompFilter())
	}
	return v
}

// seccomp is the mode, and the newest filters.
func (th *threadView) seccomp() string {
	const most = 4
	s := th.Seccomp
	for i, f := range th.Filters[:min(len(th.Filters), most)] {
		s += []string{" ", ","}[min(i, 1)] + fmt.Sprint(f)
	}
	if more := len(th.Filters) - most; more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	return s
}

// newMemoryView describes a mapping, with the number of its pages that are in the images.
func newMemoryView(d *images.Dir, t *images.Task, m *pb.VmaEntry) memoryView {
	v := memoryView{
		Start: blob.Addr(m.GetStart()), End: blob.Addr(m.GetEnd()), Prot: blob.Prot(m.GetProt()).String(),
		Name: vmaName(d, m),
	}
	runs := t.Pagemap.Runs // in address order
	first := sort.Search(len(runs), func(i int) bool { return runs[i].End() > m.GetStart() })
	for _, r := range runs[first:] {
		if r.Vaddr >= m.GetEnd() {
			break
		}
		v.Pages += (min(r.End(), m.GetEnd()) - max(r.Vaddr, m.GetStart())) / images.PageSize
	}
	return v
}

// vmaName names a mapping as /proc/PID/maps does; memory without a file by what it is.
func vmaName(d *images.Dir, m *pb.VmaEntry) string {
	status := m.GetStatus()
	switch {
	case status&images.VmaVdso != 0:
		return "[vdso]"
	case status&images.VmaVvar != 0:
		return "[vvar]"
	case status&images.VmaVsyscall != 0:
		return "[vsyscall]"
	case status&(images.VmaFilePrivate|images.VmaFileShared) != 0:
		return d.Files[uint32(m.GetShmid())].GetReg().GetName()
	case status&images.VmaHeap != 0:
		return "[heap]"
	case status&(images.VmaAnonShared|images.VmaMemfd) != 0:
		return fmt.Sprintf("shared memory %d", m.GetShmid())
	}
	return ""
}

func newFdView(d *images.Dir, fd *pb.FdinfoEntry) fdView {
	f := d.Files[fd.GetId()]
	return fdView{fd.GetFd(), strings.ToLower(fd.GetType().String()), f.GetReg().GetName()}
}

func (v *imagesView) text(w io.Writer) {
	threads := 0
	for _, t := range v.Tasks {
		threads += len(t.Threads)
	}
	fmt.Fprintf(w, "images version %d, dumped %s, tasks: %d, threads: %d\n", v.ImgVersion,
		v.Dumped.Format(time.RFC3339),
		len(v.Tasks), threads)
	if v.Graft != nil {
		v.graft(w)
	}
	for i := range v.Tasks {
		v.Tasks[i].text(w)
	}
	if len(v.NotDecoded) > 0 {
		fmt.Fprintf(w, "\nother files: %s\n", quotedNames(v.NotDecoded))
	}
}

func quotedNames(names []string) string {
	safe := make([]string, len(names))
	for i, n := range names {
		safe[i] = escape.Name(n)
	}
	return strings.Join(safe, ", ")
}

// graft lists the grafted plugins; the file is trusted as little as the images.
func (v *imagesView) graft(w io.Writer) {
	g := v.Graft
	fmt.Fprintf(w, "grafted by %s (%s), on-error: %s, pie-timeout: %d ms\n", escape.Name(g.Tool),
		escape.Name(g.Mode),
		escape.Name(g.OnError), g.HookTimeoutMs)
	for _, p := range g.Plugins {
		fmt.Fprintf(w, "  plugin %s (%s, sha256 %s), hooks: %s", escape.Name(p.Name), escape.Name(p.File),
			escape.Name(p.SHA256),
			quotedNames(p.Hooks))
		if len(p.Params) > 0 {
			fmt.Fprintf(w, ", parameters: %s", quotedNames(p.Params))
		}
		fmt.Fprintln(w)
	}
	for _, t := range g.Tasks {
		fmt.Fprintf(w, "  task %d: %d bytes at %s\n", t.Pid, t.Size, escape.Name(t.Address))
	}
}

// text indents a task below its parent. Names are escaped: a process may put any bytes into its own, prctl(2)
// PR_SET_NAME.
func (t *taskView) text(w io.Writer) {
	indent := strings.Repeat("  ", min(t.depth, 20))
	fmt.Fprintf(w, "\n%stask %d %s: %s, parent %d, group %d, session %d\n", indent, t.Pid, escape.Name(t.Comm),
		t.State, t.Ppid,
		t.Pgid, t.Sid)
	if t.Threads == nil {
		return
	}
	fmt.Fprintf(w, "%s  exe %s, cwd %s\n", indent, escape.Name(t.Exe), escape.Name(t.Cwd))
	fmt.Fprintf(w, "%s  memory contents: %d bytes here, %d in the parent\n", indent, t.Here, t.Parent)
	table := func(title string, rows int, row func(w io.Writer, i int)) {
		tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
		fmt.Fprintf(tw, "%s  %s\n", indent, title)
		for i := range rows {
			fmt.Fprintf(tw, "%s  ", indent)
			row(tw, i)
		}
		tw.Flush() // an error comes again when w is flushed
	}
	table("THREAD\tNAME\tIP\tSP\tBLOCKED\tSECCOMP", len(t.Threads), func(w io.Writer, i int) {
		th := t.Threads[i]
		fmt.Fprintf(w, "%d\t%s\t0x%x\t0x%x\t%s\t%s\n", th.Tid, escape.Name(th.Comm), th.Ip, th.Sp, th.Blocked,
			th.seccomp())
	})
	table("MEMORY\tPROT\tPAGES\tNAME", len(t.Memory), func(w io.Writer, i int) {
		m := t.Memory[i]
		fmt.Fprintf(w, "%x-%x\t%s\t%d\t%s\n", m.Start, m.End, m.Prot, m.Pages, escape.Name(m.Name))
	})
	if len(t.Resident) > 0 {
		table("RESIDENT HOOK\tPRIORITY\tADDRESS\tFUNCTION\tFILE", len(t.Resident), func(w io.Writer, i int) {
			h := t.Resident[i]
			fmt.Fprintf(w, "%s\t%d\t0x%x\t%s\t%s\n", h.Hook, h.Priority, h.Address, escape.Name(h.Function),
				escape.Name(h.File))
		})
	}
	for _, damaged := range t.ResidentDamaged {
		fmt.Fprintf(w, "%s  resident hooks, damaged: %s\n", indent, escape.Name(damaged))
	}
	table("FD\tTYPE\tNAME", len(t.Fds), func(w io.Writer, i int) {
		fmt.Fprintf(w, "%d\t%s\t%s\n", t.Fds[i].Fd, t.Fds[i].Type, escape.Name(t.Fds[i].Name))
	})
}

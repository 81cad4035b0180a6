package tty

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/host"
	"github.com/crpie/crpie/restorer/internal/plan"
	"github.com/crpie/crpie/restorer/internal/planner/file"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// The zygote makes every pseudo-terminal of which the tree has the master, or a slave that is hung up, with both of its
// ends, and opens other terminals, so that they exist before the sessions that they control; pty(7), ioctl_tty(2).

// Room plans terminals.
type Room struct {
	*job.Job
	files     *file.Room
	terminals []*terminal
	ctties    map[uint32][]*pb.FdinfoEntry // what a session's leader opens as /dev/tty, by session
}

// NewRoom prepares the planning of a job's terminals.
func NewRoom(j *job.Job, files *file.Room) *Room { return &Room{Job: j, files: files} }

// Kinds is the table of descriptors that are terminals.
func (r *Room) Kinds() []file.Kind {
	return []file.Kind{{Of: pb.FdTypes_TTY,
		New: func(f *file.Descriptors) file.Describer { return &descriptors{Descriptors: f, Room: r} }}}
}

// descriptors plans the terminals of one task.
type descriptors struct {
	*file.Descriptors
	*Room
	terminal int // where crpie's terminal is kept, -1: nowhere
}

// terminal is one that is restored as itself: a pair of pseudo-terminals or a device.
type terminal struct {
	where  string // of the first descriptor
	name   string
	number uint32 // N of /dev/pts/N
	pty    bool
	passed int                      // by the controller as this number; 0: it is opened or made
	held   func() (*os.File, error) // opens the master of one that the controller has made; nil: it has not

	master *pb.FdinfoEntry   // of a pair, or nil; its number is the zygote's
	slaves []*pb.FdinfoEntry // of a pair; or the descriptions of a device

	info      *pb.TtyInfoEntry // of any end: the settings are the pair's
	slaveInfo *pb.TtyInfoEntry // or nil
	sid, pgrp uint32           // the session that it controls and its foreground process group, or 0
	fd        int              // what tasks have it as until they have their own descriptors
}

// maxPty is the highest number for which CRIU dumps a pseudo-terminal.
const maxPty = 1000

// hungUp makes a terminal that reads as the end of a file and cannot be written. CRIU dumps no settings of it.
func hungUp(info *pb.TtyInfoEntry) bool { return info != nil && info.GetTermios() == nil }

// task begins the plan of a task's terminals.
func (r *Room) task(t *job.Process) *descriptors {
	return &descriptors{Descriptors: r.files.Task(t), Room: r}
}

// MakeTerminals plans the zygote's part.
func (p *Room) MakeTerminals() {
	p.collectTerminals()
	for _, t := range p.terminals {
		m := terminalMaker{p.task(p.ZygoteTask(nil)), t}
		m.hold()
		if p.checkTerminal(t) {
			m.make()
		}
	}
	for _, t := range p.terminals {
		p.checkSession(t)
	}
	p.checkMounted()
	p.controllingTerminals()
}

// checkMounted refuses terminals that are mounted and whose master nobody would have: they would end with the
// controller.
func (p *Room) checkMounted() {
	if p.Own.Mounts == nil {
		return
	}
	mounted := p.Own.Mounts.Terminals()
	for _, where := range slices.Sorted(maps.Keys(mounted)) {
		restored := func(t *terminal) bool { return t.held != nil && t.name == mounted[where] }
		if !slices.ContainsFunc(p.terminals, restored) {
			p.Refuse(where, "let its runtime restore it",
				"the terminal %s is mounted, and no task has its master: not supported", mounted[where])
		}
	}
}

// collectTerminals groups the descriptions by terminal, in the order in which tasks have them.
func (p *Room) collectTerminals() {
	seen, pairs := map[uint32]bool{}, map[uint32]*terminal{}
	for _, task := range p.Dir.Tasks {
		for _, fd := range task.Fds {
			file := p.Dir.Files[fd.GetId()].GetTty()
			if file == nil || seen[fd.GetId()] {
				continue
			}
			seen[fd.GetId()] = true
			info := p.Dir.Ttys[file.GetTtyInfoId()]
			where := fmt.Sprintf("task %d fd %d", task.Pid, fd.GetFd())
			made := &pb.FdinfoEntry{Id: fd.Id, Type: fd.Type, Flags: pb.Uint32(uapi.FdCloexec)}
			number, passed := p.files.Inherited[fd.GetId()]
			switch kind := info.GetType(); {
			case passed:
				p.collectPassed(where, made, info, number)
			case kind == pb.TtyType_PTY:
				p.collectEnd(pairs, where, made, info)
			case kind == pb.TtyType_CONSOLE || kind == pb.TtyType_VT || kind == pb.TtyType_SERIAL:
				p.collectDevice(where, made, info)
			}
		}
	}
	for _, t := range pairs {
		if p.Own.Mounts != nil {
			t.held = p.Own.Mounts.Master(t.name)
		}
		switch {
		case t.master != nil || hungUp(t.slaveInfo):
		case t.held != nil && slices.Contains(p.Opts.Orphans, t.name):
			p.Plan.Masters = append(p.Plan.Masters, plan.Master{Name: t.name, Open: t.held})
		default:
			p.forget(t) // of a session outside the images
		}
	}
}

// Orphans lists the terminals of a dump that tasks have open, but whose master they have not.
func Orphans(dir *images.Dir) (names []string) {
	masters := map[string]bool{}
	for _, task := range dir.Tasks {
		for _, fd := range task.Fds {
			info := dir.Ttys[dir.Files[fd.GetId()].GetTty().GetTtyInfoId()]
			name := ptsName(info.GetPty().GetIndex())
			switch {
			case info.GetType() != pb.TtyType_PTY:
			case images.IsMaster(info):
				masters[name] = true
			case !hungUp(info) && !slices.Contains(names, name):
				names = append(names, name)
			}
		}
	}
	return slices.DeleteFunc(names, func(name string) bool { return masters[name] })
}

func ptsName(number uint32) string { return fmt.Sprintf("/dev/pts/%d", number) }

// collectEnd adds a descriptor to its pseudoterminal. Either end can be open several times, the master as one
// description.
func (p *Room) collectEnd(pairs map[uint32]*terminal, where string, fd *pb.FdinfoEntry, info *pb.TtyInfoEntry) {
	number := info.GetPty().GetIndex()
	t := pairs[number]
	if t == nil {
		t = &terminal{where: where, name: ptsName(number), number: number, pty: true}
		pairs[number] = t
		p.terminals = append(p.terminals, t)
	}
	switch {
	case !images.IsMaster(info):
		t.slaves, t.slaveInfo = append(t.slaves, fd), info
	case t.master != nil:
		p.Refuse(where, "", "a second master of %s: the images contradict themselves", t.name)
	default:
		t.master, t.info = fd, info
	}
	if t.info == nil {
		t.info = info
	}
	// a slave tells only those whose controlling terminal it is
	if info.GetSid() != 0 && (t.sid == 0 || images.IsMaster(info)) {
		t.sid, t.pgrp = info.GetSid(), info.GetPgrp()
	}
}

// collectDevice adds a descriptor of a terminal that has a device, a console or a virtual terminal.
func (p *Room) collectDevice(where string, fd *pb.FdinfoEntry, info *pb.TtyInfoEntry) {
	if p.Opts.ShellJob && info.GetType() != pb.TtyType_CONSOLE {
		return // as CRIU does
	}
	name := p.ttyPath(fd.GetId())
	for _, t := range p.terminals {
		if !t.pty && t.name == name {
			t.slaves = append(t.slaves, fd)
			return
		}
	}
	p.terminals = append(p.terminals, &terminal{
		where: where, name: name, slaves: []*pb.FdinfoEntry{fd}, info: info, sid: info.GetSid(),
		pgrp: info.GetPgrp(),
	})
}

// collectPassed has a terminal that is given by a descriptor, --inherit-fd.
func (p *Room) collectPassed(where string, fd *pb.FdinfoEntry, info *pb.TtyInfoEntry, number int) {
	for _, t := range p.terminals {
		if t.passed == number {
			t.slaves = append(t.slaves, fd)
			return
		}
	}
	p.terminals = append(p.terminals, &terminal{
		where: where, name: file.ResourceOf(p.Dir, p.Dir.Files[fd.GetId()]), passed: number,
		slaves: []*pb.FdinfoEntry{fd}, info: info, sid: info.GetSid(), pgrp: info.GetPgrp(),
	})
}

// ttyPath is the name under which the terminal was opened.
func (p *Room) ttyPath(id uint32) string {
	return p.Dir.Files[p.Dir.Files[id].GetTty().GetRegfId()].GetReg().GetName()
}

func (p *Room) forget(t *terminal) {
	for i := range p.terminals {
		if p.terminals[i] == t {
			p.terminals = append(p.terminals[:i], p.terminals[i+1:]...)
			return
		}
	}
}

// checkTerminal refuses what cannot be made on this host.
func (p *Room) checkTerminal(t *terminal) bool {
	before := p.Len()
	const nTTY = 0 // the line discipline of terminals that are just that
	if line := t.info.GetTermios().GetCLine(); line != nTTY {
		p.Refuse(t.where, "", "terminal %s with line discipline %d: not supported", t.name, line)
	}
	switch {
	case t.passed != 0, t.held != nil:
	case !t.pty && !isCharDevice(p.Host, t.name):
		p.Refuse(t.where, "", "terminal %q is not on this host", t.name)
	case t.pty && t.number > maxPty:
		p.Refuse(t.where, "", "terminal %s: numbers above %d are not supported", t.name, maxPty)
	case t.pty && !isCharDevice(p.Host, t.ptmx(p)):
		p.Refuse(t.where, "mount devpts there", "terminal %s: there is no %s", t.name, t.ptmx(p))
	case t.pty:
		if _, err := p.Host.Stat(t.name); err == nil {
			p.Refuse(t.where, "close the terminal that has this number, or restore elsewhere",
				"terminal %s exists already", t.name)
		}
	}
	return p.Len() == before
}

func isCharDevice(h *host.Host, name string) bool {
	info, err := h.Stat(name)
	return errors.Is(err, host.ErrUnseen) || err == nil && uapi.UnixType(info.Mode()) == 0o020000
}

// ptmx is what makes the pair: there may be several, one for each mount of devpts.
func (t *terminal) ptmx(p *Room) string {
	if t.master != nil {
		return cmp.Or(p.ttyPath(t.master.GetId()), "/dev/ptmx")
	}
	return path.Join(path.Dir(cmp.Or(p.ttyPath(t.slaves[0].GetId()), t.name)), "ptmx")
}

// checkSession: a session's terminal is restored by its leader, the foreground process group by who makes that group.
func (p *Room) checkSession(t *terminal) {
	if t.sid == 0 {
		return
	}
	leader, group := false, false
	for _, task := range p.Dir.Tasks {
		leader = leader || task.Pid == t.sid && task.Sid == t.sid && !task.Dead()
		group = group || task.Pgid == t.pgrp && task.Sid == t.sid
	}
	switch {
	case !leader:
		p.Refuse(t.where, "", "terminal %s controls session %d, whose leader was not dumped: not supported",
			t.name,
			t.sid)
	case !group:
		p.Refuse(t.where, "", "terminal %s has the foreground process group %d, which was not dumped: not supported",
			t.name, t.pgrp)
	}
}

// terminalMaker plans the operations for one terminal, in the zygote.
type terminalMaker struct {
	*descriptors
	*terminal
}

// make plans one terminal: its slaves are opened through the master, which works without /dev/pts (TIOCGPTPEER,
// ioctl_tty(2)); a master that nobody had is closed in the end.
func (m *terminalMaker) make() {
	if !m.pty {
		m.device()
		return
	}
	master := m.pair()
	for _, fd := range m.slaves {
		m.Create(fd, "slave of "+m.name, uapi.SysIoctl, uint64(master), uapi.Tiocgptpeer, m.ttyFlags(fd))
	}
	if hungUp(m.slaveInfo) {
		m.hangUp(master)
	} else {
		m.settings(master)
		m.modes(master)
	}
	for _, fd := range m.slaves {
		m.finishTTY(fd)
	}
	if m.master != nil {
		m.finishTTY(m.master)
	} else {
		m.Prog.Sys("its master is gone", uapi.SysClose, uint64(master))
	}
}

// ttyFlags are flags with which a description of a terminal can be opened again; none becomes a controlling terminal by
// that.
func (f *descriptors) ttyFlags(fd *pb.FdinfoEntry) uint64 {
	return uint64(f.Dir.Files[fd.GetId()].GetTty().GetFlags())&^(uapi.OCreat|uapi.OExcl|uapi.OTrunc) | uapi.ONoctty
}

// finishTTY sets what open(2) does not.
func (f *descriptors) finishTTY(fd *pb.FdinfoEntry) {
	file := f.Dir.Files[fd.GetId()].GetTty()
	if file.GetFlags()&uapi.OAsync != 0 {
		f.SetFlags(fd, file.GetFlags())
	}
	f.Owner(fd, file.GetFown())
}

// hold gives each description the number that tasks will find it under.
func (m *terminalMaker) hold() {
	all := m.slaves
	if m.master != nil {
		all = append([]*pb.FdinfoEntry{m.master}, all...)
	}
	for _, fd := range all {
		m.fd = m.Fds.Scratch()
		fd.Fd = pb.Uint32(uint32(m.fd))
		m.SharedFDs[fd.GetId()] = m.fd
	}
}

// pair makes the two ends and gives the number of the master.
func (m *terminalMaker) pair() int {
	flags, master := uint64(uapi.ORdwr|uapi.ONoctty), 0
	if m.master != nil {
		flags, master = m.ttyFlags(m.master), int(m.master.GetFd())
	} else {
		master = m.Fds.Scratch()
	}
	if m.held != nil {
		m.take(master)
		return master
	}
	m.Prog.Core("master of "+m.name,
		abi.OpenPty{Ptmx: m.Prog.Arena.String(m.ptmx(m.Room)), Flags: flags, Number: uint64(m.number),
			FD: uint64(master)})
	m.set(master, "unlocked", uapi.Tiocsptlck, 0)
	return master
}

// take gets the master that the controller has made.
func (m *terminalMaker) take(master int) {
	passed := m.Fds.Scratch()
	m.Plan.Files = append(m.Plan.Files, plan.ExtraFile{Number: passed, Name: "master of " + m.name, Open: m.held})
	if m.master != nil {
		m.Create(m.master, "master of "+m.name, uapi.SysFcntl, uint64(passed), 0 /* F_DUPFD */, uint64(passed))
		m.SetFlags(m.master, m.Dir.Files[m.master.GetId()].GetTty().GetFlags())
	} else {
		m.Prog.Open(master, true, "master of "+m.name, uapi.SysFcntl, uint64(passed), 0, uint64(passed))
	}
	m.Prog.Sys("", uapi.SysClose, uint64(passed))
}

// set makes an ioctl whose argument is a pointer to an int.
func (m *terminalMaker) set(fd int, what string, request uint64, value uint32) {
	m.Prog.Sys(m.name+" "+what, uapi.SysIoctl, uint64(fd), request,
		m.Prog.Arena.Bytes(plan.Words32([]uint32{value})))
}

func (m *terminalMaker) hangUp(master int) {
	if m.master != nil { // vhangup(2): who opens the slave again can use it
		m.Prog.Sys(m.name+" is hung up", uapi.SysIoctl, uint64(m.slaves[0].GetFd()), uapi.Tiocvhangup)
		m.termios(master, m.info)
		m.modes(master)
	}
}

// settings restores owner, contents, modes and window size. There is one set of them for both ends.
func (m *terminalMaker) settings(master int) {
	fd := master
	if len(m.slaves) > 0 { // a slave that can be written to, whatever the application's can
		fd = m.Fds.Scratch()
		m.Prog.Open(fd, true, m.name, uapi.SysIoctl, uint64(master), uapi.Tiocgptpeer, uapi.ORdwr|uapi.ONoctty)
		m.permissions(fd)
		m.contents(fd)
	}
	m.termios(fd, m.info)
	if fd != master {
		m.Prog.Sys("", uapi.SysClose, uint64(fd))
	}
}

// permissions gives a slave its owner and mode: the kernel gives it to the one who opens the master.
func (m *terminalMaker) permissions(slave int) {
	if m.slaveInfo.Uid != nil && m.slaveInfo.Gid != nil {
		m.Prog.Sys("owner of "+m.name, uapi.SysFchown, uint64(slave), uint64(m.slaveInfo.GetUid()),
			uint64(m.slaveInfo.GetGid()))
	}
	reg := m.Dir.Files[m.Dir.Files[m.slaves[0].GetId()].GetTty().GetRegfId()].GetReg()
	if reg.GetMode()&uapi.SIfmt != 0 {
		m.Prog.Sys("mode of "+m.name, uapi.SysFchmod, uint64(slave), uint64(reg.GetMode()&0o7777))
	}
}

// termios sets modes, locked modes and the window's size. Locked modes come after modes, which they would hold fast.
func (m *terminalMaker) termios(fd int, info *pb.TtyInfoEntry) {
	a := m.Prog.Arena
	if info.GetTermios() != nil {
		m.Prog.Sys("modes of "+m.name, uapi.SysIoctl, uint64(fd), uapi.Tcsets,
			a.Bytes(termios(info.GetTermios())))
	}
	if info.GetTermiosLocked() != nil {
		m.Prog.Sys("locked modes of "+m.name, uapi.SysIoctl, uint64(fd), uapi.Tiocslcktrmios,
			a.Bytes(termios(info.GetTermiosLocked())))
	}
	if w := info.GetWinsize(); w != nil {
		size := make([]byte, 8) // struct winsize
		for i, v := range []uint32{w.GetWsRow(), w.GetWsCol(), w.GetWsXpixel(), w.GetWsYpixel()} {
			binary.LittleEndian.PutUint16(size[2*i:], uint16(v))
		}
		m.Prog.Sys("window size of "+m.name, uapi.SysIoctl, uint64(fd), uapi.Tiocswinsz, a.Bytes(size))
	}
}

// termios lays out struct termios of the kernel, asm-generic/termbits.h. CRIU copies the control characters as bytes
// into its list of words.
func termios(e *pb.TermiosEntry) []byte {
	const controlChars = 19 // NCCS
	b := plan.Words32([]uint32{e.GetCIflag(), e.GetCOflag(), e.GetCCflag(), e.GetCLflag()})
	b = append(b, byte(e.GetCLine()))
	chars := append(plan.Words32(e.GetCCc()), make([]byte, controlChars)...)
	return append(b, chars[:controlChars]...)
}

// modes restores what an end has for itself. The lock comes when every task has what it opens.
func (m *terminalMaker) modes(master int) {
	if m.master != nil {
		if m.info.GetPacketMode() {
			m.set(master, "in packet mode", uapi.Tiocpkt, 1)
		}
		if m.info.GetExclusive() {
			m.Prog.Sys(m.name+": exclusive master", uapi.SysIoctl, uint64(master), uapi.Tiocexcl)
		}
		if m.info.GetLocked() {
			m.HandOver(m.master.GetId(), job.PhaseTimers, func(prog *plan.Program, fd uint64) {
				prog.Sys(m.name+" locked", uapi.SysIoctl, fd, uapi.Tiocsptlck,
					prog.Arena.Bytes(plan.Words32([]uint32{1})))
			})
		}
	}
	if len(m.slaves) > 0 && m.slaveInfo.GetExclusive() {
		m.Prog.Sys(m.name+": exclusive", uapi.SysIoctl, uint64(m.slaves[0].GetFd()), uapi.Tiocexcl)
	}
}

// contents puts back what had been written to either end and not been read from the other. The kernel would treat it
// once more as on its way through: newlines, echoes, control characters. So it gets settings with which nothing
// happens.
func (m *terminalMaker) contents(slave int) {
	input, output := m.queued(false), m.queued(true)
	if len(input) == 0 && len(output) == 0 || m.info.GetTermios() == nil {
		return
	}
	// A change of either would make all that waits one line, n_tty.c
	quiet := pb.Clone(m.info.GetTermios())
	quiet.CIflag, quiet.COflag, quiet.CCc = pb.Uint32(0), pb.Uint32(0), nil
	quiet.CLflag = pb.Uint32(quiet.GetCLflag() & (uapi.Icanon | uapi.Extproc))
	a := m.Prog.Arena
	m.Prog.Sys(m.name+" does nothing to its contents", uapi.SysIoctl, uint64(slave), uapi.Tcsets,
		a.Bytes(termios(quiet)))
	if len(input) > 0 {
		what := fmt.Sprintf("%d bytes to be read from %s", len(input), m.name)
		m.Prog.Core(what, abi.InsertInput{FD: uint64(slave), Bytes: a.Bytes(input), Len: uint64(len(input))})
	}
	if len(output) > 0 {
		what := fmt.Sprintf("%d bytes to be read from the master of %s", len(output), m.name)
		m.Prog.Want(int64(len(output)), what, uapi.SysWrite, uint64(slave), a.Bytes(output),
			uint64(len(output)))
	}
}

// queued is what an end had not read yet.
func (m *terminalMaker) queued(byMaster bool) []byte {
	const maxQueued = 16384 // CRIU's buffer
	info := m.slaveInfo
	if byMaster {
		info = m.info
	}
	if m.master == nil {
		return nil
	}
	for _, d := range m.Dir.TtyData {
		if d.GetTtyId() != info.GetId() {
			continue
		}
		b := d.GetData()
		if len(b) > maxQueued {
			m.Refuse(m.where, "", "terminal %s with %d bytes in it: CRIU dumps %d at most", m.name, len(b),
				maxQueued)
			return nil
		}
		if byMaster && info.GetPacketMode() && len(b) > 0 {
			b = b[1:] // TIOCPKT_DATA, which comes in front of what is read
		}
		return b
	}
	return nil
}

// device opens a terminal that is there already.
func (m *terminalMaker) device() {
	for _, fd := range m.slaves {
		if m.passed != 0 {
			m.Create(fd, "terminal "+m.name, uapi.SysFcntl, uint64(m.passed), 0, /* F_DUPFD */
				uint64(m.passed))
		} else {
			path := m.Prog.Arena.String(m.name)
			m.Create(fd, "terminal "+m.name, uapi.SysOpenat, uapi.AtFdcwd, path, m.ttyFlags(fd))
		}
		m.finishTTY(fd)
	}
	m.termios(m.fd, m.info)
	if m.info.GetExclusive() {
		m.Prog.Sys(m.name+": exclusive", uapi.SysIoctl, uint64(m.fd), uapi.Tiocexcl)
	}
}

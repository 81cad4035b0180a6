package restorer

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"path"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/abi"
)

// The zygote makes every pseudo-terminal of which the tree has the master, or a slave that is hung up, with both of its ends,
// and opens other terminals, so that they exist before the sessions that they control; pty(7), ioctl_tty(2).

// ttyRoom plans terminals.
type ttyRoom struct {
	*job
	files     *fileRoom
	terminals []*terminal
	ctties    map[uint32][]*pb.FdinfoEntry // what a session's leader opens as /dev/tty, by session
}

func newTTYRoom(j *job, files *fileRoom) *ttyRoom { return &ttyRoom{job: j, files: files} }

func (r *ttyRoom) kinds() []kind {
	return []kind{{pb.FdTypes_TTY, func(f *filePlanner) describer { return &ttyPlanner{filePlanner: f, ttyRoom: r} }}}
}

// ttyPlanner plans the terminals of one task.
type ttyPlanner struct {
	*filePlanner
	*ttyRoom
	terminal int // where crpie's terminal is kept, -1: nowhere
}

// terminal is one that is restored as itself: a pair of pseudo-terminals or a device.
type terminal struct {
	where  string // of the first descriptor
	name   string
	number uint32 // N of /dev/pts/N
	pty    bool
	passed int // by the controller as this number; 0: it is opened or made

	master *pb.FdinfoEntry   // of a pair, or nil; its number is the zygote's
	slaves []*pb.FdinfoEntry // of a pair; or the descriptions of a device

	info      *pb.TtyInfoEntry // of any end: the settings are the pair's
	slaveInfo *pb.TtyInfoEntry // or nil
	sid, pgrp uint32           // the session that it controls and its foreground process group, or 0
	fd        int              // what tasks have it as until they have their own descriptors
}

// maxPty is the highest number for which CRIU dumps a pseudo-terminal.
const maxPty = 1000

// hungUp: whoever has it finds the end of the file and cannot write any more. CRIU dumps no settings of it.
func hungUp(info *pb.TtyInfoEntry) bool { return info != nil && info.GetTermios() == nil }

// task begins the plan of a task's terminals.
func (r *ttyRoom) task(t *jobTask) *ttyPlanner {
	return &ttyPlanner{filePlanner: r.files.task(t), ttyRoom: r}
}

// makeTerminals plans the zygote's part.
func (p *ttyRoom) makeTerminals() {
	p.collectTerminals()
	for _, t := range p.terminals {
		m := terminalMaker{p.task(p.zygoteTask(nil)), t}
		m.hold()
		if p.checkTerminal(t) {
			m.make()
		}
	}
	for _, t := range p.terminals {
		p.checkSession(t)
	}
	p.controllingTerminals()
}

// collectTerminals groups the descriptions by terminal, in the order in which tasks have them.
func (p *ttyRoom) collectTerminals() {
	seen, pairs := map[uint32]bool{}, map[uint32]*terminal{}
	for _, task := range p.dir.Tasks {
		for _, fd := range task.Fds {
			file := p.dir.Files[fd.GetId()].GetTty()
			if file == nil || seen[fd.GetId()] {
				continue
			}
			seen[fd.GetId()] = true
			info := p.dir.Ttys[file.GetTtyInfoId()]
			where := fmt.Sprintf("task %d fd %d", task.Pid, fd.GetFd())
			made := &pb.FdinfoEntry{Id: fd.Id, Type: fd.Type, Flags: pb.Uint32(fdCloexec)}
			number, passed := p.files.inherited[fd.GetId()]
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
		if t.master == nil && !hungUp(t.slaveInfo) {
			p.forget(t) // somebody else's
		}
	}
}

func (p *ttyRoom) collectEnd(pairs map[uint32]*terminal, where string, fd *pb.FdinfoEntry, info *pb.TtyInfoEntry) {
	number := info.GetPty().GetIndex()
	t := pairs[number]
	if t == nil {
		t = &terminal{where: where, name: fmt.Sprintf("/dev/pts/%d", number), number: number, pty: true}
		pairs[number] = t
		p.terminals = append(p.terminals, t)
	}
	switch {
	case !isMaster(info):
		t.slaves, t.slaveInfo = append(t.slaves, fd), info
	case t.master != nil:
		p.refuse(where, "", "a second master of %s: impossible", t.name)
	default:
		t.master, t.info = fd, info
	}
	if t.info == nil {
		t.info = info
	}
	if info.GetSid() != 0 && (t.sid == 0 || isMaster(info)) { // a slave tells only those whose controlling terminal it is
		t.sid, t.pgrp = info.GetSid(), info.GetPgrp()
	}
}

// isMaster tells the ends apart as the kernel does, Documentation/admin-guide/devices.txt: /dev/ptmx is 5:2, masters have the
// majors 128 to 135.
func isMaster(info *pb.TtyInfoEntry) bool {
	const ptmx, firstMaster, lastMaster = 5<<8 | 2, 128, 135
	major := info.GetRdev() >> 8 & 0xfff
	return info.GetRdev() == ptmx || major >= firstMaster && major <= lastMaster
}

func (p *ttyRoom) collectDevice(where string, fd *pb.FdinfoEntry, info *pb.TtyInfoEntry) {
	if p.opts.ShellJob && info.GetType() != pb.TtyType_CONSOLE {
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
		where: where, name: name, slaves: []*pb.FdinfoEntry{fd}, info: info, sid: info.GetSid(), pgrp: info.GetPgrp(),
	})
}

// collectPassed has a terminal that is given by a descriptor, --inherit-fd.
func (p *ttyRoom) collectPassed(where string, fd *pb.FdinfoEntry, info *pb.TtyInfoEntry, number int) {
	for _, t := range p.terminals {
		if t.passed == number {
			t.slaves = append(t.slaves, fd)
			return
		}
	}
	p.terminals = append(p.terminals, &terminal{
		where: where, name: resourceOf(p.dir, p.dir.Files[fd.GetId()]), passed: number,
		slaves: []*pb.FdinfoEntry{fd}, info: info, sid: info.GetSid(), pgrp: info.GetPgrp(),
	})
}

// ttyPath is the name under which the terminal was opened.
func (p *ttyRoom) ttyPath(id uint32) string {
	return p.dir.Files[p.dir.Files[id].GetTty().GetRegfId()].GetReg().GetName()
}

func (p *ttyRoom) forget(t *terminal) {
	for i := range p.terminals {
		if p.terminals[i] == t {
			p.terminals = append(p.terminals[:i], p.terminals[i+1:]...)
			return
		}
	}
}

// checkTerminal refuses what cannot be made on this host.
func (p *ttyRoom) checkTerminal(t *terminal) bool {
	before := p.Len()
	const nTTY = 0 // the line discipline of terminals that are just that
	if line := t.info.GetTermios().GetCLine(); line != nTTY {
		p.refuse(t.where, "", "terminal %s with line discipline %d: not supported", t.name, line)
	}
	switch {
	case t.passed != 0:
	case !t.pty && !isCharDevice(p.host, t.name):
		p.refuse(t.where, "", "terminal %q is not on this host", t.name)
	case t.pty && t.number > maxPty:
		p.refuse(t.where, "", "terminal %s: numbers above %d are not supported", t.name, maxPty)
	case t.pty && !isCharDevice(p.host, t.ptmx(p)):
		p.refuse(t.where, "mount devpts there", "terminal %s: there is no %s", t.name, t.ptmx(p))
	case t.pty:
		if _, err := p.host.Stat(t.name); err == nil {
			p.refuse(t.where, "close the terminal that has this number, or restore elsewhere", "terminal %s exists already", t.name)
		}
	}
	return p.Len() == before
}

func isCharDevice(h *Host, name string) bool {
	info, err := h.Stat(name)
	return err == nil && unixType(info.Mode()) == 0o020000
}

// ptmx is what makes the pair: there may be several, one for each mount of devpts.
func (t *terminal) ptmx(p *ttyRoom) string {
	if t.master != nil {
		return cmp.Or(p.ttyPath(t.master.GetId()), "/dev/ptmx")
	}
	return path.Join(path.Dir(cmp.Or(p.ttyPath(t.slaves[0].GetId()), t.name)), "ptmx")
}

// checkSession: a session's terminal is restored by its leader, the foreground process group by who makes that group.
func (p *ttyRoom) checkSession(t *terminal) {
	if t.sid == 0 {
		return
	}
	leader, group := false, false
	for _, task := range p.dir.Tasks {
		leader = leader || task.Pid == t.sid && task.Sid == t.sid && !task.Dead()
		group = group || task.Pgid == t.pgrp && task.Sid == t.sid
	}
	switch {
	case !leader:
		p.refuse(t.where, "", "terminal %s controls session %d, whose leader was not dumped: not supported", t.name, t.sid)
	case !group:
		p.refuse(t.where, "", "terminal %s has the foreground process group %d, which was not dumped: not supported", t.name, t.pgrp)
	}
}

// terminalMaker plans the operations for one terminal, in the zygote.
type terminalMaker struct {
	*ttyPlanner
	*terminal
}

func (m *terminalMaker) make() {
	if !m.pty {
		m.device()
		return
	}
	master := m.pair()
	for _, fd := range m.slaves {
		m.create(fd, "slave of "+m.name, sysIoctl, uint64(master), tiocgptpeer, m.ttyFlags(fd))
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
		m.prog.sys("its master is gone", sysClose, uint64(master))
	}
}

// ttyFlags are flags with which a description of a terminal can be opened again; none becomes a controlling terminal by that.
func (f *ttyPlanner) ttyFlags(fd *pb.FdinfoEntry) uint64 {
	return uint64(f.dir.Files[fd.GetId()].GetTty().GetFlags())&^(oCreat|oExcl|oTrunc) | oNoctty
}

// finishTTY sets what open(2) does not.
func (f *ttyPlanner) finishTTY(fd *pb.FdinfoEntry) {
	file := f.dir.Files[fd.GetId()].GetTty()
	if file.GetFlags()&oAsync != 0 {
		f.setFlags(fd, file.GetFlags())
	}
	f.owner(fd, file.GetFown())
}

// hold gives each description the number that tasks will find it under.
func (m *terminalMaker) hold() {
	all := m.slaves
	if m.master != nil {
		all = append([]*pb.FdinfoEntry{m.master}, all...)
	}
	for _, fd := range all {
		m.fd = m.fds.scratch()
		fd.Fd = pb.Uint32(uint32(m.fd))
		m.sharedFDs[fd.GetId()] = m.fd
	}
}

// pair makes the two ends and gives the number of the master.
func (m *terminalMaker) pair() int {
	flags, master := uint64(oRdwr|oNoctty), 0
	if m.master != nil {
		flags, master = m.ttyFlags(m.master), int(m.master.GetFd())
	} else {
		master = m.fds.scratch()
	}
	m.prog.core(abi.OpPty, "master of "+m.name, m.prog.arena.string(m.ptmx(m.ttyRoom)), flags, uint64(m.number), uint64(master))
	m.set(master, "unlocked", tiocsptlck, 0)
	return master
}

// set makes an ioctl whose argument is a pointer to an int.
func (m *terminalMaker) set(fd int, what string, request uint64, value uint32) {
	m.prog.sys(m.name+" "+what, sysIoctl, uint64(fd), request, m.prog.arena.bytes(words32([]uint32{value})))
}

func (m *terminalMaker) hangUp(master int) {
	if m.master != nil { // vhangup(2): who opens the slave again can use it
		m.prog.sys(m.name+" is hung up", sysIoctl, uint64(m.slaves[0].GetFd()), tiocvhangup)
		m.termios(master, m.info)
		m.modes(master)
	}
}

// settings restores owner, contents, modes and window size. There is one set of them for both ends.
func (m *terminalMaker) settings(master int) {
	fd := master
	if len(m.slaves) > 0 { // a slave that can be written to, whatever the application's can
		fd = m.fds.scratch()
		m.prog.open(fd, true, m.name, sysIoctl, uint64(master), tiocgptpeer, oRdwr|oNoctty)
		m.permissions(fd)
		m.contents(fd)
	}
	m.termios(fd, m.info)
	if fd != master {
		m.prog.sys("", sysClose, uint64(fd))
	}
}

func (m *terminalMaker) permissions(slave int) {
	if m.slaveInfo.Uid != nil && m.slaveInfo.Gid != nil {
		m.prog.sys("owner of "+m.name, sysFchown, uint64(slave), uint64(m.slaveInfo.GetUid()), uint64(m.slaveInfo.GetGid()))
	}
	reg := m.dir.Files[m.dir.Files[m.slaves[0].GetId()].GetTty().GetRegfId()].GetReg()
	if reg.GetMode()&sIfmt != 0 {
		m.prog.sys("mode of "+m.name, sysFchmod, uint64(slave), uint64(reg.GetMode()&0o7777))
	}
}

func (m *terminalMaker) termios(fd int, info *pb.TtyInfoEntry) {
	a := m.prog.arena
	if info.GetTermios() != nil {
		m.prog.sys("modes of "+m.name, sysIoctl, uint64(fd), tcsets, a.bytes(termios(info.GetTermios())))
	}
	if info.GetTermiosLocked() != nil {
		m.prog.sys("locked modes of "+m.name, sysIoctl, uint64(fd), tiocslcktrmios, a.bytes(termios(info.GetTermiosLocked())))
	}
	if w := info.GetWinsize(); w != nil {
		size := make([]byte, 8) // struct winsize
		for i, v := range []uint32{w.GetWsRow(), w.GetWsCol(), w.GetWsXpixel(), w.GetWsYpixel()} {
			binary.LittleEndian.PutUint16(size[2*i:], uint16(v))
		}
		m.prog.sys("window size of "+m.name, sysIoctl, uint64(fd), tiocswinsz, a.bytes(size))
	}
}

// termios lays out struct termios of the kernel, asm-generic/termbits.h. CRIU copies the control characters as bytes into
// its list of words.
func termios(e *pb.TermiosEntry) []byte {
	const controlChars = 19 // NCCS
	b := words32([]uint32{e.GetCIflag(), e.GetCOflag(), e.GetCCflag(), e.GetCLflag()})
	b = append(b, byte(e.GetCLine()))
	chars := append(words32(e.GetCCc()), make([]byte, controlChars)...)
	return append(b, chars[:controlChars]...)
}

// modes restores what an end has for itself. The lock comes when every task has what it opens.
func (m *terminalMaker) modes(master int) {
	if m.master != nil {
		if m.info.GetPacketMode() {
			m.set(master, "in packet mode", tiocpkt, 1)
		}
		if m.info.GetExclusive() {
			m.prog.sys(m.name+": exclusive master", sysIoctl, uint64(master), tiocexcl)
		}
		if m.info.GetLocked() {
			m.handOver(m.master.GetId(), phaseTimers, func(prog *program, fd uint64) {
				prog.sys(m.name+" locked", sysIoctl, fd, tiocsptlck, prog.arena.bytes(words32([]uint32{1})))
			})
		}
	}
	if len(m.slaves) > 0 && m.slaveInfo.GetExclusive() {
		m.prog.sys(m.name+": exclusive", sysIoctl, uint64(m.slaves[0].GetFd()), tiocexcl)
	}
}

// contents puts back what had been written to either end and not been read from the other. The kernel would treat it once
// more as on its way through: newlines, echoes, control characters. So it gets settings with which nothing happens.
func (m *terminalMaker) contents(slave int) {
	input, output := m.queued(false), m.queued(true)
	if len(input) == 0 && len(output) == 0 || m.info.GetTermios() == nil {
		return
	}
	const canonical, extproc = 0o2, 0o200000 // a change of either would make all that waits one line, n_tty.c
	quiet := pb.Clone(m.info.GetTermios())
	quiet.CIflag, quiet.COflag, quiet.CCc = pb.Uint32(0), pb.Uint32(0), nil
	quiet.CLflag = pb.Uint32(quiet.GetCLflag() & (canonical | extproc))
	a := m.prog.arena
	m.prog.sys(m.name+" does nothing to its contents", sysIoctl, uint64(slave), tcsets, a.bytes(termios(quiet)))
	if len(input) > 0 {
		what := fmt.Sprintf("%d bytes to be read from %s", len(input), m.name)
		m.prog.core(abi.OpType, what, uint64(slave), a.bytes(input), uint64(len(input)))
	}
	if len(output) > 0 {
		what := fmt.Sprintf("%d bytes to be read from the master of %s", len(output), m.name)
		m.prog.want(int64(len(output)), what, sysWrite, uint64(slave), a.bytes(output), uint64(len(output)))
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
	for _, d := range m.dir.TtyData {
		if d.GetTtyId() != info.GetId() {
			continue
		}
		b := d.GetData()
		if len(b) > maxQueued {
			m.refuse(m.where, "", "terminal %s with %d bytes in it: CRIU dumps %d at most", m.name, len(b), maxQueued)
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
			m.create(fd, "terminal "+m.name, sysFcntl, uint64(m.passed), 0 /* F_DUPFD */, uint64(m.passed))
		} else {
			path := m.prog.arena.string(m.name)
			m.create(fd, "terminal "+m.name, sysOpenat, atFdcwd, path, m.ttyFlags(fd))
		}
		m.finishTTY(fd)
	}
	m.termios(m.fd, m.info)
	if m.info.GetExclusive() {
		m.prog.sys(m.name+": exclusive", sysIoctl, uint64(m.fd), tiocexcl)
	}
}

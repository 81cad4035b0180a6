//go:build amd64

package inject

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/changes"
	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/sys"
)

// Program is what Spawn starts, with this process's standard streams and working directory.
type Program struct {
	Path      string   // of the file
	Args, Env []string // Args[0] is its name
	At        Moment
}

// EndedError says that a program had ended before it got to its moment.
type EndedError struct {
	At     Moment
	Status unix.WaitStatus
}

func (e *EndedError) Error() string {
	how := fmt.Sprintf("with status %d", e.Status.ExitStatus())
	if e.Status.Signaled() {
		how = "by " + changes.SignalName(e.Status.Signal())
	}
	text := fmt.Sprintf("try: the program ended %s before --at %s", how, e.At)
	if e.At.Kind == AtFunction {
		text += "; a function that is inlined everywhere is never called"
	}
	return text
}

// Spawn starts a program, stops it at its moment and runs the hooks. When it returns the program goes on, untraced,
// as a child of this process. On an error it is gone.
func Spawn(ctx context.Context, program *Program, opts *Options) (pid int, done *Report, err error) {
	s, err := newSession(ctx, opts)
	if err != nil {
		return 0, nil, err
	}
	err = asTracer(s.stopTimeout(), func() error {
		p, err := s.start(program)
		if err != nil {
			return err
		}
		pid = int(p.pid)
		stop := context.AfterFunc(ctx, func() { _ = sys.Kill(p.pid, unix.SIGKILL) })
		defer stop()
		if err = s.spawned(p, program); err != nil {
			p.end()
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
		}
		return err
	})
	return pid, s.report, err
}

// spawned starts the program, runs it to its moment, and does there what attach does with a process that runs. Other
// threads are stopped only then.
func (s *session) spawned(p *target, program *Program) error {
	if err := p.execute(); err != nil {
		return err
	}
	if err := p.runTo(program.At); err != nil {
		return err
	}
	if err := p.stopOthers(); err != nil {
		return err
	}
	for _, t := range p.threads {
		if err := p.found(t, p.statusOf(t.tid)); err != nil {
			return err
		}
	}
	p.began = time.Now()
	err := errors.Join(s.inject(), s.cure())
	if p.report != nil {
		p.report.At = program.At.String()
	}
	if err == nil {
		err = s.release()
	} else {
		p.notePause() // it is not let go
	}
	s.describe()
	return err
}

// end kills the program and collects it.
func (p *target) end() {
	_ = sys.Kill(p.pid, unix.SIGKILL)
	for {
		tid, ws, err := sys.WaitAny(time.Time{})
		switch {
		case err != nil || tid == p.pid && kindOf(ws) == stopGone:
			return
		case kindOf(ws) != stopGone:
			_ = sys.Continue(tid)
		}
	}
}

// start starts what waits to be traced, and stops it. PTRACE_TRACEME would not do: whoever asks for that itself
// cannot be interrupted later.
func (s *session) start(program *Program) (*target, error) {
	code, call, err := stubProgram()
	if err != nil {
		return nil, err
	}
	stub, path, err := sys.Program("crpie try", stubELF(code))
	if err != nil {
		return nil, fmt.Errorf("try: %w", err)
	}
	defer stub.Close()
	argv := append([]string{program.Path}, program.Args...)
	pid, err := syscall.ForkExec(path, argv, &syscall.ProcAttr{
		Env: program.Env, Files: []uintptr{0, 1, 2}})
	if err != nil {
		return nil, fmt.Errorf("try: start the program that waits to be traced: %w", err)
	}
	p := &target{session: s, pid: sys.PID(pid), root: true, options: sys.OptExitKill, gate: stubText + call}
	t := &thread{tid: p.pid}
	p.adopt(t)
	err = sys.Seize(p.pid, sys.OptExitKill|sys.OptSysGood|sys.OptTraceExec|sys.OptTraceClone|sys.OptTraceFork|
		sys.OptTraceVfork|sys.OptVforkDone)
	if err == nil {
		err = sys.Interrupt(p.pid)
	}
	if err == nil {
		err = p.awaitAsked(t)
	}
	if err != nil {
		p.end()
		return nil, fmt.Errorf("try: %w", err)
	}
	return p, nil
}

// The stub's one segment: its headers, 64 and 56 bytes, and its code.
const (
	stubHeaders = 64 + 56
	stubText    = 0x400000 + stubHeaders
)

// stubELF is a file of one segment, elf(5).
func stubELF(code []byte) []byte {
	const at, text = stubText - stubHeaders, stubHeaders
	b, _ := binary.Append(nil, binary.LittleEndian, &elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB),
			byte(elf.EV_CURRENT)},
		Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
		Entry: at + text, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1,
	})
	size := uint64(text + len(code))
	b, _ = binary.Append(b, binary.LittleEndian, &elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: at, Paddr: at,
		Filesz: size, Memsz: size, Align: memory.PageSize,
	})
	return append(b, code...)
}

// execute has the stub execute the program: argv[0] is its path.
func (p *target) execute() error {
	t := p.threads[0]
	regs, err := sys.GetRegs(t.tid)
	if err != nil {
		return fmt.Errorf("try: %w", err)
	}
	top := make([]byte, 16) // of the stack: argc and argv[0]
	if err := sys.ReadProcess(p.pid, sys.Span{Addr: regs.Sp, Data: top}); err != nil {
		return fmt.Errorf("try: %w", err)
	}
	count, name := binary.LittleEndian.Uint64(top), binary.LittleEndian.Uint64(top[8:])
	argv := regs.Sp + 16
	regs.Ip = p.gate
	p.gate = 0
	regs.Ax, regs.OrigAx = unix.SYS_EXECVE, ^uint64(0)
	regs.Di, regs.Si = name, argv
	regs.Dx = argv + 8*count
	if err := sys.SetRegs(t.tid, &regs); err != nil {
		return fmt.Errorf("try: %w", err)
	}
	for {
		if err := sys.ContinueToSyscall(t.tid); err != nil {
			return fmt.Errorf("try: %w", err)
		}
		ws, err := sys.Wait(t.tid)
		if err != nil {
			return fmt.Errorf("try: %w", err)
		}
		switch {
		case kindOf(ws) == stopGone:
			return fmt.Errorf("try: the program was killed when it was executed: %v", ws)
		case sys.Event(ws) == unix.PTRACE_EVENT_EXEC:
			return p.executed()
		case kindOf(ws) == stopSignal:
			return fmt.Errorf("try: %s came when the program was to be executed", changes.SignalName(ws.StopSignal()))
		case kindOf(ws) != stopSyscall:
			continue
		}
		info, err := sys.GetSyscallInfo(t.tid)
		if err != nil {
			return fmt.Errorf("try: %w", err)
		}
		if info.Op == sys.SyscallExit && info.Result < 0 {
			return fmt.Errorf("try: execute %s: %w", p.executable(regs.Di), unix.Errno(-info.Result))
		}
	}
}

// executable reads a name out of the process.
func (p *target) executable(addr uint64) string {
	b := make([]byte, unix.PathMax)
	for n := len(b); n > 0; n /= 2 {
		if sys.ReadProcess(p.pid, sys.Span{Addr: addr, Data: b[:n]}) == nil {
			name, _, _ := bytes.Cut(b[:n], []byte{0})
			return string(name)
		}
	}
	return "the program"
}

// executed looks at a process that has become another program: it has one thread, new memory, no handlers.
func (p *target) executed() (err error) {
	p.threads = []*thread{{tid: p.pid, stopped: true}}
	if p.mem != nil {
		p.mem.Close()
	}
	p.resident = breakpoints{}
	if p.mem, err = sys.OpenMemory(p.pid); err != nil {
		return fmt.Errorf("try: %w; a program that may be executed but not read cannot be traced into", err)
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
	if err != nil {
		return fmt.Errorf("try: %w", err)
	}
	p.trap = &changes.Action{}
	if parseStatus(string(text)).set("SigIgn")&bit(unix.SIGTRAP) != 0 {
		p.trap[0] = 1 // SIG_IGN
	}
	return p.noteTrapMask(p.threads[0])
}

// stopOthers stops all threads but those that have stopped already.
func (p *target) stopOthers() error {
	for {
		running := 0
		for _, t := range append([]*thread(nil), p.threads...) {
			if t.stopped {
				continue
			}
			running++
			if err := sys.Interrupt(t.tid); err != nil && !p.ending(t.tid) {
				return fmt.Errorf("try: %w", err)
			}
			if err := p.awaitAsked(t); err != nil {
				return err
			}
		}
		tids, err := p.listThreads()
		if err != nil {
			return err
		}
		for _, tid := range tids {
			if p.thread(tid) == nil && !p.ending(tid) { // it was born traced, and stops
				p.adopt(&thread{tid: tid})
				p.noteBirth(tid, true)
				running++
				if err := p.awaitAsked(p.thread(tid)); err != nil {
					return err
				}
			}
		}
		if running == 0 {
			return errors.Join(p.letChildrenGo(), p.leaderFirst())
		}
	}
}

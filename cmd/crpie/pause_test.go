//go:build linux && amd64

package main

import (
	"bufio"
	"bytes"
	"context"
	"debug/elf"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/testenv"
)

// paused is a crpie whose hooks wait for a debugger.
type paused struct {
	*testing.T
	cmd    *exec.Cmd
	stderr *bufio.Reader
	temp   string // where its socket is
	out    bytes.Buffer
	said   strings.Builder // on standard error, as far as it was read
}

// startPaused starts crpie in a process of its own, from which it waits for what it traces.
func startPaused(t *testing.T, args ...string) *paused {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Timeout)
	t.Cleanup(cancel)
	p := &paused{T: t, cmd: exec.CommandContext(ctx, executable(t), args...), temp: t.TempDir()}
	p.cmd.Env = append(os.Environ(), asTool+"=1", "TMPDIR="+p.temp)
	p.cmd.Stdout = &p.out
	stderr, err := p.cmd.StderrPipe()
	must(t, err)
	must(t, p.cmd.Start())
	p.stderr = bufio.NewReader(stderr)
	return p
}

// waits reads until a hook waits, and gives gdb's command.
func (p *paused) waits() (gdb string) {
	p.Helper()
	for {
		line, err := p.stderr.ReadString('\n')
		p.said.WriteString(line)
		if command, ok := strings.CutPrefix(line, "    gdb "); ok {
			gdb = "gdb -nx -batch " + strings.TrimSpace(command)
		}
		if strings.Contains(line, "it goes on with") {
			return gdb
		}
		if err != nil {
			p.Fatalf("no hook waits: %v\n%s", err, &p.said)
		}
	}
}

// waitsAgain reads until a hook waits, or crpie says no more.
func (p *paused) waitsAgain() bool {
	for {
		line, err := p.stderr.ReadString('\n')
		p.said.WriteString(line)
		if err != nil || strings.Contains(line, "it goes on with") {
			return err == nil
		}
	}
}

// ends waits for crpie's end.
func (p *paused) ends() (status int, stderr string) {
	p.Helper()
	rest, _ := io.ReadAll(p.stderr)
	p.said.Write(rest)
	_ = p.cmd.Wait() // the status says it
	if left, _ := filepath.Glob(filepath.Join(p.temp, "*")); len(left) > 0 {
		p.Errorf("left behind: %v", left)
	}
	return p.cmd.ProcessState.ExitCode(), p.said.String()
}

// gdb has gdb carry out commands; it returns what it says.
func (p *paused) gdb(command string, does ...string) string {
	p.Helper()
	testenv.NeedTool(p.T, "gdb")
	for _, do := range does {
		command += " -ex '" + do + "'"
	}
	ctx, cancel := context.WithTimeout(p.Context(), testenv.Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	cmd.Env = append(os.Environ(), "DEBUGINFOD_URLS=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		p.Errorf("%v", err)
	}
	return string(out)
}

func (p *paused) expect(text string, wanted ...string) {
	p.Helper()
	for _, want := range wanted {
		if !strings.Contains(text, want) {
			p.Errorf("%q is not in:\n%s", want, text)
		}
	}
}

// lookAround are commands with which gdb sees lines and variables, steps and writes, and what it then says.
var (
	lookAround = []string{"bt 1", "break watched", "continue", "info args", "set var calls = 40",
		"set var before = 0", "next", "finish", "print calls", "print before", "info locals"}
	whatItSees = []string{"hook (ctx=", "Breakpoint 1, watched (ctx=", "watched.c:", "by = 2",
		"Value returned is $1 = 42", "$2 = 42", "$3 = 42", "zeros = "}
)

const watchedSource = "testdata/plugins/watched.c"

// gdb comes to a hook in a program that is started and in one that runs: breakpoint, source line, variables of the
// stack and in .data and .bss, a step, a write, and the program does not notice.
func TestDebuggerInALiveProcess(t *testing.T) {
	plugin := testenv.Plugin(t, watchedSource)
	p := startPaused(t, "try", "--pie-pause", "PRE_SIGRETURN:watched", plugin, "--", "/bin/echo", "unharmed")
	p.expect(p.gdb(p.waits(), append(lookAround, "detach")...), whatItSees...)
	if status, stderr := p.ends(); status != 0 || p.out.String() != "unharmed\n" ||
		!strings.Contains(stderr, "watched: PIE_RST_PRE_SIGRETURN: 42 calls") {
		t.Errorf("status %d, %q\n%s", status, &p.out, stderr)
	}
	for _, name := range []string{"threads", "python", "golang", "signals"} {
		victim := testenv.Start(t, name)
		p := startPaused(t, "try", "-p", strconv.Itoa(victim.Pid), "--pie-pause", "pre-sigreturn", plugin)
		p.expect(p.gdb(p.waits(), append(lookAround, "continue")...),
			append(whatItSees, "exited normally")...)
		if status, stderr := p.ends(); status != 0 {
			t.Errorf("%s: status %d\n%s", name, status, stderr)
		}
		victim.MustPass(t)
	}
}

// gdb sees all threads of a live process, and in a restore those that stand; the registers of the FPU can be written,
// and are the program's again afterwards.
func TestDebuggerSeesThreadsAndFloatingPoint(t *testing.T) {
	plugin := testenv.Plugin(t, watchedSource)
	look := []string{"info threads", "thread 3", "p $_thread", "p $sp != 0", "thread 1", "p $mxcsr", "p $fctrl",
		"set var $xmm15.v2_int64[1] = 77", "set var $st0 = 2.5", "p $xmm15.v2_int64", "p $st0", "p $fs_base != 0",
		"break watched", "continue", "p $xmm15.v2_int64", "info threads", "continue"}
	sees := []string{"(threads)", "$1 = 3", "$2 = 1", "$3 = 8064", "$4 = 895", "$5 = {0, 77}", "$6 = 2.5", "$7 = 1",
		"Breakpoint 1, watched", "$8 = {0, 77}", "exited normally"}
	victim := testenv.Start(t, "threads", "3")
	p := startPaused(t, "try", "-p", strconv.Itoa(victim.Pid), "--pie-pause", "PRE_SIGRETURN", plugin)
	text := p.gdb(p.waits(), look...)
	p.expect(text, sees...)
	p.expect(text, "Thread "+strconv.Itoa(victim.Pid), "\n  4 ")
	if status, stderr := p.ends(); status != 0 {
		t.Errorf("status %d\n%s", status, stderr)
	}
	im := victim.Dump(t)
	p = startPaused(t, "restore", "-d", "-D", im.Dir, "--pie-pause", "PRE_SIGRETURN_THREAD", "--pie-plugin", plugin)
	for range 4 {
		text := p.gdb(p.waits(), "info threads", "set var $xmm15.v2_int64[1] = 77", "p $xmm15.v2_int64", "detach")
		p.expect(text, "\n  4 ", "$1 = {0, 77}")
	}
	if status, stderr := p.ends(); status != 0 {
		t.Errorf("status %d\n%s", status, stderr)
	}
	im.Adopt(t).MustPass(t)
}

// If gdb dies when its thread has come to a breakpoint, the thread stands before the instruction: it goes on with that,
// not behind its first byte.
func TestDebuggerDiesAtABreakpoint(t *testing.T) {
	plugin := testenv.Plugin(t, watchedSource)
	im := testenv.Start(t, "threads").Dump(t)
	for _, args := range [][]string{
		{"try", "--pie-pause", "TASK_CREATED", plugin, "--", "/bin/true"},
		{"restore", "-d", "-D", im.Dir, "-v3", "--pie-pause", "TASK_CREATED", "--pie-plugin", plugin},
	} {
		p := startPaused(t, args...)
		command := p.waits()
		socket := strings.Trim(command[strings.Index(command, "target remote ")+len("target remote "):], "'")
		conn, err := net.Dial("unix", socket)
		must(t, err)
		answers := bufio.NewReader(conn)
		for _, packet := range []string{"qSupported:swbreak+", fmt.Sprintf("Z0,%x,1", p.function(command, "watched")), "c"} {
			answer := ask(t, conn, answers, packet)
			if packet == "c" && !strings.Contains(answer, "swbreak") {
				t.Errorf("%s stops with %s", args[0], answer)
			}
		}
		must(t, conn.Close())
		must(t, p.cmd.Process.Signal(syscall.SIGCONT))
		if status, stderr := p.ends(); status != 0 || !strings.Contains(stderr, "watched: PIE_RST_TASK_CREATED: 9 calls") {
			t.Errorf("%s: status %d\n%s", args[0], status, stderr)
		}
	}
	im.Adopt(t).MustPass(t)
}

// ask sends a packet of gdb's protocol, and gives the answer.
func ask(t *testing.T, conn net.Conn, answers *bufio.Reader, packet string) string {
	t.Helper()
	sum := byte(0)
	for i := range len(packet) {
		sum += packet[i]
	}
	_, err := fmt.Fprintf(conn, "$%s#%02x", packet, sum)
	must(t, err)
	answer, err := answers.ReadString('#')
	must(t, err)
	return answer
}

// function gives the address that a function of the plugin has, whose .text gdb's command has.
func (p *paused) function(command, name string) uint64 {
	p.Helper()
	_, rest, _ := strings.Cut(command, "-s .text ")
	words := strings.FieldsFunc(rest, func(c rune) bool { return strings.ContainsRune(" '", c) })
	text, err := strconv.ParseUint(words[0], 0, 64)
	must(p.T, err)
	file, err := elf.Open(strings.Split(testenv.Plugin(p.T, watchedSource), ",")[0])
	must(p.T, err)
	defer file.Close()
	symbols, err := file.Symbols()
	must(p.T, err)
	for _, s := range symbols {
		// or a copy that gcc has made of it
		if elf.ST_TYPE(s.Info) == elf.STT_FUNC && strings.HasPrefix(s.Name, name) {
			return text + s.Value
		}
	}
	p.Fatalf("no function %s", name)
	return 0
}

// What a program does with SIGTRAP stays, although the kernel resets the action of a signal that breakpoints and steps
// force on a thread.
func TestDebuggerKeepsSIGTRAP(t *testing.T) {
	plugin := testenv.Plugin(t, watchedSource)
	for with, args := range map[string][]string{",ignore=1": {"ignored"}, "": nil} {
		victim := testenv.Start(t, "trapped", args...)
		p := startPaused(t, "try", "-p", strconv.Itoa(victim.Pid), "--pie-pause", "POST_FILES", plugin)
		p.expect(p.gdb(p.waits(), append(lookAround, "continue")...), whatItSees...)
		p.ends()
		im := victim.Dump(t)
		p = startPaused(t, "restore", "-d", "-D", im.Dir, "--pie-pause", "PRE_SIGRETURN", "--pie-plugin",
			plugin+with)
		p.expect(p.gdb(p.waits(), append(lookAround, "continue")...), whatItSees...)
		if status, stderr := p.ends(); status != 0 {
			t.Errorf("%v: status %d\n%s", args, status, stderr)
		}
		im.Adopt(t).MustPass(t)
	}
}

// It is the same in a restore, at every stage.
func TestDebuggerInARestore(t *testing.T) {
	plugin := testenv.Plugin(t, watchedSource)
	for _, name := range []string{"threads", "signals"} {
		im := testenv.Start(t, name).Dump(t)
		for _, stage := range stageOrder {
			if stage == "PRE_SIGRETURN_THREAD" {
				continue
			}
			p := startPaused(t, "restore", "-d", "-D", im.Dir, "-v4", "--pie-pause", stage,
				"--pie-plugin", plugin)
			p.expect(p.gdb(p.waits(), append(lookAround, "continue")...),
				append(whatItSees, "exited normally")...)
			status, stderr := p.ends()
			if status != 0 || !strings.Contains(stderr, "watched: PIE_RST_"+stage+": 42 calls") ||
				!strings.Contains(stderr, "plugin watched: section .bss at 0x") {
				t.Errorf("%s at %s: status %d\n%s", name, stage, status, stderr)
			}
			im.Adopt(t).MustPass(t)
			im.Reset(t)
		}
	}
}

// Each thread waits for its own debugger; the others stand still meanwhile, and do not run into its breakpoints.
func TestDebuggerInEachThread(t *testing.T) {
	plugin := testenv.Plugin(t, watchedSource)
	im := testenv.Start(t, "threads", "3").Dump(t)
	p := startPaused(t, "restore", "-d", "-D", im.Dir, "--pie-pause", "PRE_SIGRETURN_THREAD", "--pie-plugin", plugin)
	for range 4 {
		p.expect(p.gdb(p.waits(), "break watched", "continue", "print by", "continue"), "Breakpoint 1, watched",
			"$1 = 2", "exited normally")
	}
	if status, stderr := p.ends(); status != 0 {
		t.Errorf("status %d\n%s", status, stderr)
	}
	im.Adopt(t).MustPass(t)
}

// Each task of a tree waits, one after the other; with select= only those that are meant. In a rehearsal the copy does.
func TestTasksThatWait(t *testing.T) {
	plugin := testenv.Plugin(t, watchedSource)
	victim := testenv.Start(t, "tree")
	p := startPaused(t, "try", "-p", strconv.Itoa(victim.Pid), "--rehearse", "--pie-pause", "POST_FILES", plugin)
	p.expect(p.gdb(p.waits(), append(lookAround, "continue")...), append(whatItSees, "exited normally")...)
	if status, stderr := p.ends(); status != 0 {
		t.Errorf("status %d\n%s", status, stderr)
	}
	im := victim.Dump(t)
	for _, selected := range []string{"", ",select=root"} {
		p := startPaused(t, "restore", "-d", "-D", im.Dir, "--pie-pause", "POST_FILES",
			"--pie-plugin", plugin+selected)
		count := 0
		for p.waitsAgain() {
			count++
			must(t, p.cmd.Process.Signal(syscall.SIGCONT))
		}
		if status, stderr := p.ends(); status != 0 || count == 1 != (selected != "") || count == 0 {
			t.Errorf("status %d, %d tasks waited\n%s", status, count, stderr)
		}
		im.Adopt(t).MustPass(t)
		im.Reset(t)
	}
}

// SIGCONT lets a hook go on without a debugger, and a signal ends the waiting.
func TestPauseWithoutDebugger(t *testing.T) {
	plugin := testenv.Plugin(t, watchedSource)
	im := testenv.Start(t, "static").Dump(t)
	ways := map[string][]string{
		"restore": {"restore", "-d", "-D", im.Dir, "--pie-pause", "POST_FILES", "--pie-plugin", plugin},
		"program": {"try", "--pie-pause", "POST_FILES", plugin, "--", "/bin/true"},
	}
	for name, args := range ways {
		p := startPaused(t, args...)
		p.waits()
		must(t, p.cmd.Process.Signal(syscall.SIGINT))
		if status, stderr := p.ends(); status != 128+int(syscall.SIGINT) {
			t.Errorf("%s: status %d\n%s", name, status, stderr)
		}
		if left := im.Leftovers(); name == "restore" && len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		p = startPaused(t, args...)
		p.waits()
		must(t, p.cmd.Process.Signal(syscall.SIGCONT))
		if status, stderr := p.ends(); status != 0 {
			t.Errorf("%s: status %d\n%s", name, status, stderr)
		}
	}
	im.Adopt(t).MustPass(t)
	victim := testenv.Start(t, "threads")
	p := startPaused(t, "try", "-p", strconv.Itoa(victim.Pid), "--pie-pause", "POST_FILES", plugin)
	p.waits()
	must(t, p.cmd.Process.Signal(syscall.SIGCONT))
	if status, stderr := p.ends(); status != 0 {
		t.Errorf("status %d\n%s", status, stderr)
	}
	victim.MustPass(t)
}

// A hook that was let go and then fails has failed as without a debugger, and the limit of its time counts again.
func TestHookFailsWhenLetGo(t *testing.T) {
	plugin := testenv.Plugin(t, callersSource)
	im := testenv.Start(t, "threads").Dump(t)
	for how, want := range map[string]string{
		"callback": "crashed with SIGSEGV", "hang": "still running after 200ms (--pie-timeout)",
	} {
		hook := plugin + ",how=" + how
		for _, args := range [][]string{
			{"try", "--pie-timeout", "200ms", "--pie-pause", "PRE_SIGRETURN", hook, "--",
				"/bin/sleep", "60"},
			{"restore", "-d", "-D", im.Dir, "--pie-timeout", "200ms", "--pie-pause", "PRE_SIGRETURN",
				"--pie-plugin", hook},
		} {
			p := startPaused(t, args...)
			p.waits()
			must(t, p.cmd.Process.Signal(syscall.SIGCONT))
			if status, stderr := p.ends(); status != exitFailed || !strings.Contains(stderr, want) {
				t.Errorf("%s, %s: status %d, want %q\n%s", args[0], how, status, want, stderr)
			}
		}
	}
	if left := im.Leftovers(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A process that is killed while it waits ends the waiting.
func TestKilledWhileItWaits(t *testing.T) {
	plugin := testenv.Plugin(t, watchedSource)
	for _, name := range []string{"static", "threads"} {
		victim := testenv.Start(t, name)
		im := testenv.Start(t, name).Dump(t)
		for _, args := range [][]string{
			{"try", "-p", strconv.Itoa(victim.Pid), "--pie-pause", "PRE_SIGRETURN", plugin},
			{"restore", "-d", "-D", im.Dir, "--pie-pause", "PRE_SIGRETURN", "--pie-plugin", plugin},
		} {
			p := startPaused(t, args...)
			p.waits()
			must(t, syscall.Kill(p.waiting(), syscall.SIGKILL))
			if status, stderr := p.ends(); status == 0 || !strings.Contains(stderr, "it was killed while") {
				t.Errorf("%s %s: status %d\n%s", args[0], name, status, stderr)
			}
		}
		if left := im.Leftovers(); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

// waiting gives the process whose hook waits.
func (p *paused) waiting() (pid int) {
	p.Helper()
	said := p.said.String()
	_, err := fmt.Sscanf(said[strings.LastIndex(said, "crpie: process "):], "crpie: process %d", &pid)
	must(p.T, err)
	return pid
}

// If crpie is killed while gdb stands at a breakpoint or behind a step, a process that was running goes on.
func TestKilledUnderADebugger(t *testing.T) {
	plugin := testenv.Plugin(t, watchedSource)
	for _, steps := range [][]string{{"break watched", "continue"}, {"break watched", "continue", "stepi"}} {
		victim := testenv.Start(t, "threads")
		p := startPaused(t, "try", "-p", strconv.Itoa(victim.Pid), "--pie-pause", "PRE_SIGRETURN", plugin)
		command := p.waits()
		kill := fmt.Sprintf("shell kill -KILL %d", p.cmd.Process.Pid)
		p.gdb(command, append(steps, kill)...)
		p.removeSocket(command)
		p.ends()
		victim.MustPass(t)
	}
}

// If crpie is killed while a hook waits, a process that was running goes on, and a restore is undone.
func TestKilledWhileAHookWaits(t *testing.T) {
	plugin := testenv.Plugin(t, watchedSource)
	victim := testenv.Start(t, "threads")
	p := startPaused(t, "try", "-p", strconv.Itoa(victim.Pid), "--pie-pause", "PRE_SIGRETURN", plugin)
	p.kill()
	victim.MustPass(t)
	im := testenv.Start(t, "threads").Dump(t)
	p = startPaused(t, "restore", "-d", "-D", im.Dir, "--pie-pause", "PRE_SIGRETURN", "--pie-plugin", plugin)
	p.kill()
	for end := time.Now().Add(testenv.Timeout); len(im.Leftovers()) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("left behind: %v", im.Leftovers())
		}
	}
}

// kill kills crpie when a hook waits, and removes the socket that it leaves.
func (p *paused) kill() {
	p.Helper()
	command := p.waits()
	must(p.T, p.cmd.Process.Kill())
	p.removeSocket(command)
	p.ends()
}

// removeSocket removes what a crpie that was killed leaves.
func (p *paused) removeSocket(command string) {
	p.Helper()
	_, socket, _ := strings.Cut(command, "target remote ")
	must(p.T, os.RemoveAll(filepath.Dir(strings.Trim(socket, "'"))))
}

// A socket that a crpie which was killed has left is found by crpie doctor, one that is in use is not.
func TestDoctorFindsSockets(t *testing.T) {
	plugin := testenv.Plugin(t, watchedSource)
	p := startPaused(t, "try", "--pie-pause", "PRE_SIGRETURN", plugin, "--", "/bin/sleep", "60")
	p.waits()
	doctor := func(args ...string) string {
		cmd := exec.Command(executable(t), append([]string{"doctor", p.temp}, args...)...)
		cmd.Env = append(os.Environ(), asTool+"=1")
		out, _ := cmd.Output() // its status is of this machine, too
		return string(out)
	}
	left := p.temp + "/crpie-gdb-"
	if said := doctor("--clean"); strings.Contains(said, left) {
		t.Errorf("crpie waits:\n%s", said)
	}
	must(t, p.cmd.Process.Kill())
	_ = p.cmd.Wait()
	if said := doctor(); !strings.Contains(said, left) || !strings.Contains(said, "a crpie that was killed has left it") {
		t.Errorf("crpie was killed:\n%s", said)
	}
	if said := doctor("--clean"); !strings.Contains(said, left) || !strings.Contains(said, ": removed") {
		t.Errorf("clean:\n%s", said)
	}
	p.ends()
}

// A task that is killed while another one waits for a debugger ends the waiting.
func TestKilledBesideAHookThatWaits(t *testing.T) {
	plugin := testenv.Plugin(t, watchedSource)
	im := testenv.Start(t, "tree").Dump(t)
	p := startPaused(t, "restore", "-d", "-D", im.Dir, "--pie-pause", "PRE_SIGRETURN",
		"--pie-plugin", plugin+",select=root")
	p.waits()
	root := p.waiting()
	children := sys.Children(sys.PID(root))
	if len(children) == 0 {
		t.Fatal("no child")
	}
	must(t, syscall.Kill(int(children[0]), syscall.SIGKILL)) // the last ones are zombies
	want := fmt.Sprintf("it was killed while a debugger could look at task %d", root)
	if status, stderr := p.ends(); status == 0 || !strings.Contains(stderr, want) {
		t.Errorf("status %d, no %q\n%s", status, want, stderr)
	}
	if left := im.Leftovers(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A point at which there is no hook is an error before anything happens.
func TestPauseNowhere(t *testing.T) {
	plugin := testenv.Plugin(t, watchedSource)
	for point, want := range map[string]string{
		"LATER": `stage "LATER" is not known`, "POST_FILES:other": `no hook of plugin "other" (there are: watched)`,
	} {
		for _, args := range [][]string{
			{"try", "--pie-pause", point, plugin, "--", "/bin/true"},
			{"restore", "-D", filepath.Join(t.TempDir(), "none"), "--pie-pause", point, "--pie-plugin", plugin},
		} {
			if args[0] == "restore" && point != "LATER" {
				continue // the images come first
			}
			if status, _, stderr := crpie(t, args...); status == 0 || !strings.Contains(stderr, want) {
				t.Errorf("%s: status %d, %s", fmt.Sprint(args), status, stderr)
			}
		}
	}
	status, _, stderr := crpie(t, "try", "--pie-pause", "POST_FILES", "--stages", "PRE_SIGRETURN", plugin, "--",
		"/bin/true")
	if status == 0 || !strings.Contains(stderr, "pause at PIE_RST_POST_FILES: --stages leaves that stage out") {
		t.Errorf("status %d, %s", status, stderr)
	}
}

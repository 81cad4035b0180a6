//go:build linux && amd64

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/testenv"
)

// terminal is a pseudo-terminal pair and everything that was written to it.
type terminal struct {
	master, slave *os.File
	mu            sync.Mutex
	text          bytes.Buffer
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{master: master, slave: slave}
	t.Cleanup(func() { master.Close(); slave.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			term.mu.Lock()
			term.text.Write(buf[:n])
			term.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return term
}

func (term *terminal) await(t *testing.T, text string) string {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		term.mu.Lock()
		got := term.text.String()
		term.mu.Unlock()
		if strings.Contains(got, text) {
			return got
		}
		if time.Now().After(end) {
			t.Fatalf("the terminal shows %q, want %q", got, text)
		}
	}
}

// on starts a program on the terminal, as the leader of a session of which it is the controlling terminal.
func (term *terminal) on(cmd *exec.Cmd) *exec.Cmd {
	cmd.Stdin, cmd.Stdout, cmd.Stderr = term.slave, term.slave, term.slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	return cmd
}

// A job of a shell goes on, on the terminal of crpie, after its own terminal is gone.
func TestShellJob(t *testing.T) {
	criu := testenv.NeedCRIU(t)
	first := newTerminal(t)
	script := strings.Join(testenv.Victim(t, "static"), " ") + " & wait"
	shell := first.on(exec.Command("/bin/sh", "-c", script))
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { shell.Process.Kill(); shell.Wait() }()
	var pid int
	if _, err := fmt.Sscanf(strings.SplitN(first.await(t, "READY "), "READY ", 2)[1], "%d", &pid); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	out, err := exec.Command(criu.Path, "dump", "-t", fmt.Sprint(pid), "-D", dir, "--shell-job").CombinedOutput()
	if err != nil {
		t.Fatalf("criu dump: %v\n%s", err, out)
	}
	shell.Wait()

	args := []string{"restore", "-D", dir, "--pidfile", filepath.Join(t.TempDir(), "pid")}
	refused := exec.Command(os.Args[0], args...)
	refused.Env = append(os.Environ(), asTool+"=1")
	if out, _ := refused.CombinedOutput(); !bytes.Contains(out,
		[]byte("terminal: not supported\n  hint: use --shell-job")) {
		t.Errorf("without --shell-job:\n%s", out)
	}

	second := newTerminal(t)
	job := second.on(exec.Command(os.Args[0], append(args, "--shell-job")...))
	job.Env = refused.Env
	if err := job.Start(); err != nil {
		t.Fatal(err)
	}
	defer job.Process.Kill()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if b, _ := os.ReadFile(args[len(args)-1]); string(b) == fmt.Sprint(pid) && untraced(pid) {
			break
		}
	}
	if err := syscall.Kill(pid, syscall.SIGUSR1); err != nil {
		t.Error(err)
	}
	second.await(t, "PASS")
	if err := job.Wait(); err != nil {
		t.Error(err)
	}
}

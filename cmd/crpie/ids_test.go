//go:build linux && amd64

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// small are images of a process that had a small pid in a pid namespace of its own, as the first of a container has.
type small struct {
	dir string // with the images in img, and the process's output in out
	pid int
	was map[string][]byte // the files, with the output among them, when it was dumped
}

// dumpSmall lets a victim have a pid and dumps it.
func dumpSmall(t *testing.T, pid int) *small {
	t.Helper()
	return dumpSmallOf(t, pid, "exec "+testenv.Victim(t, "static")[0])
}

// dumpSmallOf has a shell with a pid execute a victim.
func dumpSmallOf(t *testing.T, pid int, script string) *small {
	t.Helper()
	s := &small{dir: t.TempDir(), pid: pid}
	testenv.KeepDescriptors()
	must(t, os.Mkdir(filepath.Join(s.dir, "img"), 0o755))
	s.mustRun(t, fmt.Sprintf(`echo %d >/proc/sys/kernel/ns_last_pid
		setsid sh -c '%s' </dev/null >out 2>&1 &
		until grep -q READY out; do :; done
		%s dump -t %d -D img -o dump.log || { grep Error img/dump.log; exit 1; }
		[ -e img/inventory.img ]`, pid-1, script, testenv.NeedCRIU(t).Path, pid))
	s.was = map[string][]byte{}
	files, _ := filepath.Glob(filepath.Join(s.dir, "*"))
	for _, name := range files {
		if b, err := os.ReadFile(name); err == nil { // no directory
			s.was[name] = b
		}
	}
	return s
}

// run runs a shell script as the first process of a new pid namespace.
func (s *small) run(t *testing.T, script string) (output string, err error) {
	t.Helper()
	return s.runAsFirst(t, "/bin/sh", "-c", script, "sh")
}

func (s *small) runAsFirst(t *testing.T, argv ...string) (output string, err error) {
	t.Helper()
	for name, b := range s.was {
		must(t, os.WriteFile(name, b, 0))
	}
	cmd := exec.CommandContext(t.Context(), testenv.NeedTool(t, "timeout"),
		append([]string{"-k1", "60", testenv.NeedTool(t, "unshare"), "-fpm", "--kill-child", "--mount-proc"},
			argv...)...)
	cmd.Dir, cmd.Env = s.dir, append(os.Environ(), asTool+"=1")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (s *small) mustRun(t *testing.T, script string) {
	t.Helper()
	if out, err := s.run(t, script); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// restored is a script that restores detached, lets the victim check itself, and fails if it does not pass.
func (s *small) restored() string {
	return fmt.Sprintf(`%s restore -d -D img || exit 1
		kill -USR1 %d
		until grep -q PASS out || ! kill -0 %[2]d; do :; done
		tail -n1 out | grep -q PASS`, os.Args[0], s.pid)
}

// A process that had a small pid gets it in a fresh pid namespace, where crpie's own threads would have had it, each
// time.
func TestSmallPids(t *testing.T) {
	testenv.NeedCRIU(t)
	for _, pid := range []int{3, 4, 5, 6, 7, 8, 9, 10, 12, 16, 25, 50} {
		t.Run(fmt.Sprint(pid), func(t *testing.T) {
			s := dumpSmall(t, pid)
			for range 3 {
				s.mustRun(t, s.restored())
			}
			if pid > 3 { // mount(8) and crpie are the second and the third
				s.mustRun(t, "mount -o bind,ro /proc/sys /proc/sys || exit 1\n"+s.restored())
			}
		})
	}
}

// crpie may be the first process of a namespace, and ends as the restored one does.
func TestFirstProcess(t *testing.T) {
	s := dumpSmall(t, 2)
	plugin := testenv.Plugin(t, "testdata/plugins/fail.c")
	out, err := s.runAsFirst(t, os.Args[0], "restore", "-D", "img", "-v3", "--pie-plugin",
		plugin+",stage=PRE_SIGRETURN,how=exit")
	if err == nil || !strings.Contains(out, "exit in task 2") {
		t.Errorf("as the first process, with a plugin that ends the task: %v\n%s", err, out)
	}
	must(t, s.passesUnderFirst(t))
}

// passesUnderFirst restores with crpie as the first process, and lets the victim check itself.
func (s *small) passesUnderFirst(t *testing.T) error {
	t.Helper()
	pid := 0
	done := make(chan error, 1)
	go func() {
		out, err := s.runAsFirst(t, os.Args[0], "restore", "-D", "img", "--pidfile",
			filepath.Join(s.dir, "pid"))
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, out)
		}
		done <- err
	}()
	await(t, "it is restored", func() bool {
		_, err := os.Stat(filepath.Join(s.dir, "pid"))
		return err == nil
	})
	await(t, "the victim's pid here", func() bool {
		pid = victimHere(filepath.Join(s.dir, "out"))
		return pid != 0
	})
	must(t, syscall.Kill(pid, syscall.SIGUSR1))
	err := <-done
	if out, _ := os.ReadFile(filepath.Join(s.dir, "out")); err == nil &&
		!strings.HasSuffix(string(out), "\nPASS\n") {
		err = fmt.Errorf("it says\n%s", out)
	}
	return err
}

// victimHere finds the process whose standard output is a file, by its pid in this namespace.
func victimHere(out string) int {
	links, _ := filepath.Glob("/proc/[0-9]*/fd/1")
	for _, link := range links {
		if to, _ := os.Readlink(link); to == out {
			pid, _ := strconv.Atoi(strings.Split(link, "/")[2])
			return pid
		}
	}
	return 0
}

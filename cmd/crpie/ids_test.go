//go:build linux && amd64

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// small are images of a process that had a small pid in a pid namespace of its own, as the first of a container has.
type small struct {
	dir string // with the images in img, and the process's output in out
	pid int
	out []byte // the output when it was dumped
}

// dumpSmall lets a victim have a pid and dumps it.
func dumpSmall(t *testing.T, pid int) *small {
	t.Helper()
	s := &small{dir: t.TempDir(), pid: pid}
	testenv.KeepDescriptors()
	must(t, os.Mkdir(filepath.Join(s.dir, "img"), 0o755))
	s.mustRun(t, fmt.Sprintf(`echo %d >/proc/sys/kernel/ns_last_pid
		setsid %s </dev/null >out 2>&1 &
		until grep -q READY out; do :; done
		%s dump -t %d -D img -o dump.log || { grep Error img/dump.log; exit 1; }
		[ -e img/inventory.img ]`, pid-1, testenv.Victim(t, "static")[0], testenv.NeedCRIU(t).Path, pid))
	s.out, _ = os.ReadFile(filepath.Join(s.dir, "out"))
	return s
}

// run runs a shell script as the first process of a new pid namespace.
func (s *small) run(t *testing.T, script string) (output string, err error) {
	t.Helper()
	return s.runAsFirst(t, "/bin/sh", "-c", script, "sh")
}

func (s *small) runAsFirst(t *testing.T, argv ...string) (output string, err error) {
	t.Helper()
	if s.out != nil {
		must(t, os.WriteFile(filepath.Join(s.dir, "out"), s.out, 0))
	}
	cmd := exec.CommandContext(t.Context(), testenv.NeedTool(t, "timeout"),
		append([]string{"-k1", "60", testenv.NeedTool(t, "unshare"), "-fpm", "--kill-child", "--mount-proc"}, argv...)...)
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

// A process that had a small pid gets it in a fresh pid namespace, where crpie's own threads would have had it, each time.
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

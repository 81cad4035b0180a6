//go:build linux && amd64

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// second is a script in which crpie is the second process. It goes on with then when crpie says what it waits for or
// has ended. Until the tasks exist the shell must create no process, which would be given their pids. It waits until
// it is alone.
func (s *small) second(args, until, then string) string {
	return fmt.Sprintf(`hangs() { while read -r line; do case $line in *"hang in task"*) return 0; esac; done <log; return 1; }
		%s restore -D img %s >log 2>&1 &
		until %s || ! kill -0 2; do :; done 2>/dev/null
		%s
		wait $!; status=$?
		until /bin/true; set -- /proc/[0-9]*; [ $# = 1 ]; do :; done
		cat log
		echo "status $status"`, os.Args[0], args, until, then)
}

const isRestored = "[ -s pid ]"

// restore runs such a script and wants crpie to have ended with a status.
func (s *small) restore(t *testing.T, status int, args, until, then string) (output string) {
	t.Helper()
	_ = os.Remove(filepath.Join(s.dir, "pid"))
	_ = os.Remove(filepath.Join(s.dir, "log"))
	out, err := s.run(t, s.second(args+` --pidfile "$PWD/pid"`, until, then))
	if err != nil || !strings.HasSuffix(out, fmt.Sprintf("status %d\n", status)) {
		t.Fatalf("%s: %v, want status %d\n%s", args, err, status, out)
	}
	return out
}

func (s *small) mustHavePassed(t *testing.T) {
	t.Helper()
	if out, _ := os.ReadFile(filepath.Join(s.dir, "out")); !strings.HasSuffix(string(out), "\nPASS\n") {
		t.Fatalf("it says\n%s", out)
	}
}

// A crpie that has the pid of the root task becomes that task: whoever waits for crpie waits for the task.
func TestBecome(t *testing.T) {
	for _, name := range []string{"static", "threads", "tree", "memfd"} {
		t.Run(name, func(t *testing.T) {
			s := dumpSmallOf(t, 2, "exec "+strings.Join(testenv.Victim(t, name), " "))
			for range 10 {
				s.restore(t, 0, "", isRestored, `[ "$(cat pid)" = 2 ] && kill -USR1 2`)
				s.mustHavePassed(t)
			}
		})
	}
}

// A crpie that is executed again finds what it has read from a descriptor.
func TestBecomeReadsDescriptors(t *testing.T) {
	s := dumpSmall(t, 2)
	if err := os.WriteFile(filepath.Join(s.dir, "token"), []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	plugin := testenv.Plugin(t, "testdata/plugins/secret.c")
	s.restore(t, 128+int(syscall.SIGTERM), "--pie-plugin "+plugin+",token=@fd:9 9<token", isRestored, "kill -TERM 2")
}

// Exit statuses and signals are the task's own.
func TestBecomeEnds(t *testing.T) {
	s := dumpSmall(t, 2)
	s.restore(t, 128+int(syscall.SIGTERM), "", isRestored, "kill -TERM 2")
	s.restore(t, 128+int(syscall.SIGKILL), "", isRestored, "kill -KILL 2")
	s.restore(t, 128+int(syscall.SIGKILL), "--leave-stopped", isRestored+" && grep -q 'State:.T' /proc/2/status",
		"kill -KILL 2")
}

// The task has no child and no descriptor that it did not have, and its parent is crpie's; the log begins once.
func TestBecomeTraces(t *testing.T) {
	s := dumpSmall(t, 2)
	out := s.restore(t, 0, "-v4", isRestored, `cat /proc/2/task/2/children >children; echo /proc/2/fd/*; cat /proc/2/comm
		until /bin/true; set -- /proc/[0-9]*; [ $# = 2 ]; do :; done # crpie's other process
		grep PPid: /proc/2/status; kill -USR1 2`)
	if children, err := os.ReadFile(filepath.Join(s.dir, "children")); len(children) > 0 || err != nil {
		t.Errorf("children: %q, %v", children, err)
	}
	for _, want := range []string{"/proc/2/fd/0 /proc/2/fd/1 /proc/2/fd/2\n", "PPid:\t1\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if n := strings.Count(out, " arguments: "); n != 1 {
		t.Errorf("the log begins %d times:\n%s", n, out)
	}
	s.mustHavePassed(t)
}

// However crpie was started, as the leader of a session or of a process group, the task leads its session.
func TestBecomeLeads(t *testing.T) {
	s := dumpSmall(t, 2)
	then := fmt.Sprintf("restore -D img --pidfile $PWD/pid & until %s || ! kill -0 2; do :; done; kill -USR1 2; wait $!", isRestored)
	for _, argv := range [][]string{
		{"/bin/sh", "-c", "setsid " + os.Args[0] + " " + then},
		{testenv.NeedTool(t, "bash"), "-c", "set -m; " + os.Args[0] + " " + then},
	} {
		_ = os.Remove(filepath.Join(s.dir, "pid"))
		if out, err := s.runAsFirst(t, argv...); err != nil {
			t.Fatalf("%q: %v\n%s", argv, err, out)
		}
		s.mustHavePassed(t)
	}
}

// A restore that fails has crpie end with its status, having told the reason, and leaves neither processes nor cgroups.
func TestBecomeFails(t *testing.T) {
	groups := newCgroups(t)
	groups.make(t, dumped)
	s := dumpSmallOf(t, 2, fmt.Sprintf("echo 0 >%s/cgroup.procs; exec %s", groups.inner,
		testenv.Victim(t, "tree")[0]))
	groups.remove(t)
	fail := testenv.Plugin(t, "testdata/plugins/fail.c")
	check := func(what, output, want string) {
		t.Helper()
		if n := strings.Count(output, want); n != 1 {
			t.Errorf("%s: %d times %q in\n%s", what, n, want, output)
		}
		if groups.state() != "gone" {
			t.Errorf("%s: a cgroup is left", what)
		}
		if _, err := os.Stat(filepath.Join(s.dir, "pid")); err == nil {
			t.Errorf("%s: a pidfile is left", what)
		}
	}
	for _, stage := range stageOrder {
		plugin := " --pie-plugin " + fail + ",stage=" + stage
		check(stage, s.restore(t, 1, plugin+",how=error", "false", ""), "returned -5 (EIO)")
		check(stage, s.restore(t, 1, plugin+",how=null", "false", ""), "crashed with SIGSEGV")
		status := 128 + int(syscall.SIGTERM)
		check(stage, s.restore(t, status, "-v3 "+plugin+",how=hang", "hangs", "kill -TERM 2"),
			"crpie: restore: ended by SIGTERM")
	}
	check("a hook that ends the task",
		s.restore(t, 7, "--pie-plugin "+fail+",select=root,stage=POST_FILES,how=exit", "false", ""),
		"exit_group(7)")
	for _, action := range []string{"pre-restore", "post-restore", "pre-resume"} {
		check(action, s.restore(t, 1, "--action-script "+s.script(t, action, "exit 1"), "false", ""),
			action+": exit status 1")
		script := s.script(t, action, "kill -TERM 2")
		status := 128 + int(syscall.SIGTERM)
		check(action, s.restore(t, status, "--action-script "+script, "false", ""), "ended by SIGTERM")
	}
	check("refused", s.restore(t, 1, "--lsm-profile apparmor:none", "false", ""), "cannot restore")
	s.restore(t, 0, "", isRestored, "kill -USR1 2")
	s.mustHavePassed(t)
}

// script writes an action script that does something at one action.
func (s *small) script(t *testing.T, action, does string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), action)
	must(t, os.WriteFile(name, fmt.Appendf(nil, "#!/bin/sh\n[ $CRTOOLS_SCRIPT_ACTION != %s ] || { %s; }\n", action,
		does), 0o755))
	return name
}

// A signal that ends no restore is kept for the task, whenever it comes.
func TestBecomeKeepsSignals(t *testing.T) {
	s := dumpSmall(t, 2)
	for _, action := range []string{"pre-restore", "post-restore", "pre-resume", "post-resume"} {
		s.restore(t, 0, "--action-script "+s.script(t, action, "kill -USR1 2"), "false", "")
		s.mustHavePassed(t)
	}
}

// Whoever kills the controller kills the tasks, and the process that is one of them.
func TestBecomeKilled(t *testing.T) {
	s := dumpSmallOf(t, 2, "exec "+testenv.Victim(t, "tree")[0])
	plugin := testenv.Plugin(t, "testdata/plugins/fail.c")
	for _, stage := range stageOrder {
		s.restore(t, 128+int(syscall.SIGKILL), "-v3 --pie-plugin "+plugin+",how=hang,stage="+stage, "hangs",
			`for d in /proc/[0-9]*; do [ "$(readlink $d/exe)" != `+os.Args[0]+
				` ] || kill -KILL ${d#/proc/}; done`)
	}
}

// With -d or --exec-cmd somebody waits for crpie, not for the task, and another task than the root's has to be a new
// process.
func TestBecomeRefused(t *testing.T) {
	s := dumpSmall(t, 2)
	for _, args := range []string{"-d", "--exec-cmd -- true"} {
		out, err := s.run(t, os.Args[0]+" restore -D img "+args+"; exit $?")
		if err == nil || !strings.Contains(out, "crpie itself was given id 2, which the task must have") ||
			!strings.Contains(out, "without -d") {
			t.Errorf("%s: %v\n%s", args, err, out)
		}
	}
	tree := dumpSmallOf(t, 100, "exec "+testenv.Victim(t, "tree")[0])
	child := 101
	for _, err := os.Stat(tree.core(child)); err != nil && child < 200; _, err = os.Stat(tree.core(child)) {
		child++
	}
	out, err := tree.run(t, fmt.Sprintf("echo %d >/proc/sys/kernel/ns_last_pid; %s restore -D img; exit $?",
		child-1, os.Args[0]))
	if err == nil || !strings.Contains(out, fmt.Sprintf("crpie itself was given id %d, which", child)) ||
		strings.Contains(out, "without -d") {
		t.Errorf("a child's pid: %v\n%s", err, out)
	}
}

func (s *small) core(pid int) string {
	return filepath.Join(s.dir, "img", fmt.Sprintf("core-%d.img", pid))
}

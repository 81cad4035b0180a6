//go:build linux && amd64

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// restoreNewPids restores detached in a pid namespace of its own, and must succeed. The process has its number for
// this one from the pid file.
func restoreNewPids(t *testing.T, im *testenv.Images, args ...string) (p *testenv.Process, output string) {
	t.Helper()
	return restoreNewPidsIn(t, im, 0, args...)
}

// restoreNewPidsIn is restoreNewPids by a crpie in new namespaces, CLONE_NEW* of clone(2).
func restoreNewPidsIn(t *testing.T, im *testenv.Images, namespaces uintptr, args ...string) (p *testenv.Process,
	output string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "pid")
	words := []string{"restore", "-d", "-D", im.Dir, "--new-pids", "--pidfile", file, "--tcp-established"}
	status, output := toolIn(t, im, namespaces, append(words, args...)...)
	if status != 0 {
		t.Fatalf("crpie restore --new-pids: status %d\n%s", status, output)
	}
	return im.AdoptAs(t, pidIn(t, file)), output
}

func pidIn(t *testing.T, file string) int {
	t.Helper()
	data, err := os.ReadFile(file)
	must(t, err)
	pid, err := strconv.Atoi(string(data))
	must(t, err)
	return pid
}

// inits lists the first processes that restores have made. They become children of this process, which collects them.
func inits(t *testing.T) (alive []int) {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/comm")
	must(t, err)
	for _, name := range names {
		comm, _ := os.ReadFile(name)
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if string(comm) != "crpie-init\n" {
			continue
		}
		if got, _ := syscall.Wait4(pid, nil, syscall.WNOHANG, nil); got != pid {
			alive = append(alive, pid)
		}
	}
	return alive
}

// awaitNoInit: with the last process of a pid namespace its first one ends.
func awaitNoInit(t *testing.T) {
	t.Helper()
	await(t, "no first process of a pid namespace", func() bool { return len(inits(t)) == 0 })
}

// Processes that are restored in a pid namespace of their own find themselves unchanged; another has their pid.
func TestNewPids(t *testing.T) {
	plugin := trace(t)
	for _, name := range []string{"static", "threads", "golang", "python", "bash", "pipeline", "sessions",
		"stopped", "owners", "timens", "mounts", "ptys", "pidfds", "ended", "inflight", "notify", "cgroups"} {
		t.Run(name, func(t *testing.T) {
			im := testenv.Start(t, name).Dump(t)
			other := holdPid(t, im.Pid)
			p, output := restoreNewPids(t, im, "--pie-plugin", plugin, "-v4")
			if got := stagesLogged(output)[im.Pid]; fmt.Sprint(got) != fmt.Sprint(stageOrder) {
				t.Errorf("hooks of thread %d: %v, want %v", im.Pid, got, stageOrder)
			}
			p.MustPass(t)
			awaitNoInit(t)
			other()
		})
	}
}

// holdPid starts a process that has a pid until release is called.
func holdPid(t *testing.T, pid int) (release func()) {
	t.Helper()
	last := filepath.Join("/proc/sys/kernel/ns_last_pid")
	var cmd *exec.Cmd
	await(t, fmt.Sprintf("a process with pid %d", pid), func() bool {
		must(t, os.WriteFile(last, []byte(strconv.Itoa(pid-1)), 0))
		cmd = exec.Command("sleep", "infinity")
		must(t, cmd.Start())
		if cmd.Process.Pid != pid {
			must(t, cmd.Process.Kill())
			_ = cmd.Wait()
		}
		return cmd.Process.Pid == pid
	})
	release = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	t.Cleanup(release)
	return release
}

// Without --new-pids that is refused, and the hint names the way out.
func TestTakenPidNamesNewPids(t *testing.T) {
	im := testenv.Start(t, "static").Dump(t)
	holdPid(t, im.Pid)
	status, output := tool(t, im, "restore", "-d", "-D", im.Dir)
	want := fmt.Sprintf(`task %d thread %d: its id is taken by process "sleep" \(state .*\)\n`+
		`  hint: end that process, or use --new-pids`, im.Pid, im.Pid)
	if status != exitFailed || !regexp.MustCompile(want).MatchString(output) {
		t.Errorf("status %d, output %s; want %s", status, output, want)
	}
}

// One checkpoint is restored many times at once, each with the same pids inside: 65 of a small program, three of
// others.
func TestManyNewPids(t *testing.T) {
	for _, c := range []struct {
		victim string
		clones int
	}{{"static", 65}, {"python", 3}, {"golang", 3}, {"pipeline", 3}} {
		t.Run(c.victim, func(t *testing.T) {
			im := testenv.Start(t, c.victim).Dump(t)
			var all []*testenv.Process
			for range c.clones {
				p, _ := restoreNewPids(t, im)
				if inside := lastOf(t, p.Pid, "NSpid"); inside != strconv.Itoa(im.Pid) {
					t.Errorf("clone %d has pid %s, want %d", p.Pid, inside, im.Pid)
				}
				all = append(all, p)
			}
			if n := len(inits(t)); n != c.clones {
				t.Errorf("%d first processes, want %d", n, c.clones)
			}
			for _, p := range all { // the signal from outside reaches one of them
				p.MustPass(t)
			}
			awaitNoInit(t)
		})
	}
}

// lastOf gives the last word of a line of proc_pid_status(5).
func lastOf(t *testing.T, pid int, line string) string {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	_, rest, _ := strings.Cut(string(status), "\n"+line+":")
	rest, _, _ = strings.Cut(rest, "\n")
	words := strings.Fields(rest)
	if len(words) == 0 {
		t.Fatalf("process %d has no %s", pid, line)
	}
	return words[len(words)-1]
}

// In the foreground crpie passes signals on and gives the exit status. Nothing is left.
func TestNewPidsInForeground(t *testing.T) {
	im := testenv.Start(t, "static").Dump(t)
	for _, c := range []struct {
		name   string
		sig    syscall.Signal
		status int
	}{{"passed on", syscall.SIGUSR1, 0}, {"kills it", syscall.SIGTERM, 128 + 15}} {
		r := start(t, im, "--new-pids", "-v4")
		r.says(t, "restored")
		must(t, r.Process.Signal(c.sig))
		if status := r.ends(); status != c.status {
			t.Errorf("%s: status %d, want %d; output:\n%s", c.name, status, c.status, r.output())
		}
		awaitNoInit(t)
	}
}

// With --restore-sibling the task is a child of crpie's parent, also in a pid namespace of its own.
func TestNewPidsSibling(t *testing.T) {
	for _, name := range []string{"static", "threads", "clonefiles"} {
		im := testenv.Start(t, name).Dump(t)
		file := filepath.Join(t.TempDir(), "pid")
		script := `"$@"; status=$?; read -r pid <` + file + `
			echo "status $status shell $$ parent $(sed -n 's/^PPid:.//p' /proc/$pid/status)"`
		cmd := im.Command(t, "/bin/sh", "-c", script, "sh", os.Args[0], "restore", "-d", "-S", "-D", im.Dir,
			"--new-pids", "--pidfile", file)
		cmd.Env = append(cmd.Env, asTool+"=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		wantSibling(t, string(out))
		im.AdoptAs(t, pidIn(t, file)).MustPass(t)
		awaitNoInit(t)
	}
}

// A hook that fails undoes everything, the first process included, at every stage, whoever is the parent.
func TestNewPidsFail(t *testing.T) {
	im := testenv.Start(t, "sessions").Dump(t)
	plugin := testenv.Plugin(t, "testdata/plugins/fail.c")
	for _, stage := range stageOrder {
		for _, how := range [][]string{{"-v0"}, {"-d"}, {"-d", "-S"}} {
			words := append([]string{"restore", "-D", im.Dir, "--new-pids", "--pie-plugin",
				plugin + ",how=error,stage=" + stage}, how...)
			status, output := tool(t, im, words...)
			if status != exitFailed || !strings.Contains(output, "returned -5 (EIO)") {
				t.Errorf("%s %v: status %d, output:\n%s", stage, how, status, output)
			}
			collectAll()
			if left := im.Leftovers(); len(left) > 0 {
				t.Fatalf("%s %v: left behind: %v", stage, how, left)
			}
			awaitNoInit(t)
		}
	}
}

// collectAll collects what has become a child of this process and has ended.
func collectAll() {
	for {
		if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG|syscall.WALL, nil); pid <= 0 || err != nil {
			return
		}
	}
}

// crpie is killed at each step; what it has made ends with it, until the tasks run.
func TestNewPidsCrpieKilled(t *testing.T) {
	im := testenv.Start(t, "sessions").Dump(t)
	for _, action := range []string{"setup-namespaces", "post-setup-namespaces", "post-restore", "pre-resume",
		"post-resume"} {
		script := filepath.Join(t.TempDir(), "kill")
		text := fmt.Sprintf("#!/bin/sh\nif [ $CRTOOLS_SCRIPT_ACTION = %s ]; then kill -9 $PPID; fi\n", action)
		must(t, os.WriteFile(script, []byte(text), 0o755))
		file := filepath.Join(t.TempDir(), "pid")
		r := start(t, im, "--new-pids", "--action-script", script, "--pidfile", file)
		if status := r.ends(); status != 128+9 {
			t.Fatalf("%s: status %d, output:\n%s", action, status, r.output())
		}
		if action == "post-resume" {
			im.AdoptAs(t, pidIn(t, file)).MustPass(t)
		}
		await(t, "nothing left after "+action, func() bool {
			collectAll() // the root task has become a child of this process
			return len(im.Leftovers()) == 0 && len(inits(t)) == 0
		})
	}
}

// Whoever of init and tasks is killed, and in whatever order: the others end as they should.
func TestNewPidsKilled(t *testing.T) {
	im := testenv.Start(t, "sessions").Dump(t)
	first := func(t *testing.T) int {
		all := inits(t)
		if len(all) != 1 {
			t.Fatalf("first processes: %v, want one", all)
		}
		return all[0]
	}
	t.Run("the first process", func(t *testing.T) {
		p, _ := restoreNewPids(t, im)
		must(t, syscall.Kill(first(t), syscall.SIGKILL))
		must(t, p.WaitGone())
		awaitNoInit(t)
		await(t, "no task left", func() bool { return len(im.Leftovers()) == 0 })
	})
	t.Run("the root task", func(t *testing.T) {
		p, _ := restoreNewPids(t, im)
		others := slices.DeleteFunc(im.Leftovers(), func(pid int) bool { return pid == p.Pid })
		must(t, syscall.Kill(p.Pid, syscall.SIGKILL))
		must(t, p.WaitGone())
		alive := slices.DeleteFunc(im.Leftovers(), func(pid int) bool { return !slices.Contains(others, pid) })
		if len(alive) == 0 || len(inits(t)) != 1 {
			t.Errorf("of the tasks %v only %v live on, with first processes %v", others, alive, inits(t))
		}
		for _, pid := range others {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		awaitNoInit(t)
	})
	t.Run("the first process in the foreground", func(t *testing.T) {
		r := start(t, im, "--new-pids", "-v4")
		r.says(t, "restored")
		must(t, syscall.Kill(first(t), syscall.SIGKILL))
		if status := r.ends(); status != 128+9 {
			t.Errorf("status %d, want 137; output:\n%s", status, r.output())
		}
		awaitNoInit(t)
	})
}

// Each process sees those of its own namespace: in /proc, and by ps.
func TestNewPidsProc(t *testing.T) {
	im := testenv.Start(t, "static").Dump(t)
	p, _ := restoreNewPids(t, im)
	entries, err := filepath.Glob(fmt.Sprintf("/proc/%d/root/proc/[0-9]*", p.Pid))
	must(t, err)
	var pids []string
	for _, e := range entries {
		pids = append(pids, filepath.Base(e))
	}
	want := []string{"1", strconv.Itoa(im.Pid)}
	if slices.Sort(want); !slices.Equal(pids, want) {
		t.Errorf("/proc there has %v, want %v", pids, want)
	}
	out, err := exec.Command(testenv.NeedTool(t, "nsenter"), "-t", strconv.Itoa(p.Pid), "-p", "-m",
		testenv.NeedTool(t, "ps"), "-e", "-o", "pid=,comm=").CombinedOutput()
	for _, line := range []string{`(?m)^ *1 crpie-init$`, fmt.Sprintf(`(?m)^ *%d static`, im.Pid)} {
		if !regexp.MustCompile(line).Match(out) {
			t.Errorf("ps says %s (%v), want %s", out, err, line)
		}
	}
	p.MustPass(t)
	awaitNoInit(t)
}

// Who has come into the namespace from outside keeps it: the first process ends when nobody is left.
func TestNewPidsGuest(t *testing.T) {
	im := testenv.Start(t, "static").Dump(t)
	p, _ := restoreNewPids(t, im)
	guest := exec.Command(testenv.NeedTool(t, "nsenter"), "-t", strconv.Itoa(p.Pid), "-p", "-m", "cat")
	in, err := guest.StdinPipe()
	must(t, err)
	out, err := guest.StdoutPipe()
	must(t, err)
	must(t, guest.Start())
	fmt.Fprintln(in, "there")
	_, err = out.Read(make([]byte, 16)) // it is in the namespace
	must(t, err)
	p.MustPass(t)
	if len(inits(t)) != 1 {
		t.Error("the first process has ended before the last one")
	}
	in.Close()
	if err := guest.Wait(); err != nil {
		t.Errorf("the guest: %v", err)
	}
	awaitNoInit(t)
}

// Stock criu dumps a clone: from inside by the pid there, and from outside with the pid namespace as an external one.
// What it has written can be restored again.
func TestNewPidsSecondDump(t *testing.T) {
	for _, release := range testenv.Releases() {
		criu := testenv.NeedRelease(t, release)
		for how, words := range map[string]func(p *testenv.Process, pid int) []string{
			"from inside": func(p *testenv.Process, pid int) []string {
				return []string{testenv.NeedTool(t, "nsenter"), "-t", strconv.Itoa(p.Pid), "-p", "-m", criu.Path,
					"dump", "-t", strconv.Itoa(pid)}
			},
			"from outside": func(p *testenv.Process, _ int) []string {
				info, err := os.Stat(fmt.Sprintf("/proc/%d/ns/pid", p.Pid))
				must(t, err)
				return []string{criu.Path, "dump", "-t", strconv.Itoa(p.Pid), "--external",
					fmt.Sprintf("pid[%d]:its", info.Sys().(*syscall.Stat_t).Ino)}
			},
		} {
			t.Run(how+release.Tag(), func(t *testing.T) {
				im := testenv.Start(t, "threads").Dump(t)
				p, _ := restoreNewPidsIn(t, im, syscall.CLONE_NEWNS) // whose mounts are private
				second := t.TempDir()
				argv := append(words(p, im.Pid), "-D", second, "-o", "dump.log", "-v4")
				if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
					log, _ := os.ReadFile(filepath.Join(second, "dump.log"))
					t.Fatalf("%v: %s\n%s", err, out, log)
				}
				must(t, p.WaitGone())
				awaitNoInit(t)
				again, _ := restoreNewPids(t, im, "-D", second)
				again.MustPass(t)
				awaitNoInit(t)
			})
		}
	}
}

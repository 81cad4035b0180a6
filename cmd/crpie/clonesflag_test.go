//go:build linux && amd64

package main

import (
	"encoding/json"
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

// restoreClones restores detached, and gives those that have a pid file, by their numbers.
func restoreClones(t *testing.T, im *testenv.Images, n int, args ...string) (status int, all map[int]*testenv.Process,
	output string) {
	t.Helper()
	dir := t.TempDir()
	words := []string{"restore", "-d", "-D", im.Dir, "--clones", strconv.Itoa(n), "--pidfile",
		filepath.Join(dir, "pid.%n"), "--tcp-established"}
	status, output = tool(t, im, append(words, args...)...)
	return status, adoptClones(t, im, dir), output
}

// adoptClones adopts those with a file pid.NUMBER.
func adoptClones(t *testing.T, im *testenv.Images, dir string) map[int]*testenv.Process {
	t.Helper()
	all := map[int]*testenv.Process{}
	files, err := filepath.Glob(filepath.Join(dir, "pid.*"))
	must(t, err)
	for _, file := range files {
		number, err := strconv.Atoi(strings.TrimPrefix(filepath.Ext(file), "."))
		must(t, err)
		all[number] = im.AdoptAs(t, pidIn(t, file))
	}
	return all
}

// passAll has each clone check itself.
func passAll(t *testing.T, im *testenv.Images, all map[int]*testenv.Process) {
	t.Helper()
	for number, p := range all {
		if inside := lastOf(t, p.Pid, "NSpid"); inside != strconv.Itoa(im.Pid) {
			t.Errorf("clone %d has pid %s, want %d", number, inside, im.Pid)
		}
		p.MustPass(t)
	}
	awaitNoInit(t)
}

// Each clone is restored as if it was the only one.
func TestClones(t *testing.T) {
	plugin := trace(t)
	for _, name := range []string{"static", "threads", "golang", "python", "bash", "pipeline", "sessions",
		"stopped", "owners", "timens", "mounts", "pidfds", "ended", "cgroups", "aio", "timers", "memfd",
		"sharing", "deleted", "limits", "workers", "ipc", "uts"} {
		t.Run(name, func(t *testing.T) {
			im := testenv.Start(t, name).Dump(t)
			other := holdPid(t, im.Pid)
			status, all, output := restoreClones(t, im, 3, "--pie-plugin", plugin, "-v4")
			if status != 0 || len(all) != 3 {
				t.Fatalf("status %d, %d clones; output:\n%s", status, len(all), output)
			}
			for number := 1; number <= 3; number++ {
				var its strings.Builder
				for line := range strings.Lines(output) {
					if prefix := fmt.Sprintf(" clone %d: ", number); strings.Contains(line, prefix) {
						its.WriteString(strings.Replace(line, prefix, " ", 1))
					}
				}
				got := stagesLogged(its.String())[im.Pid]
				if fmt.Sprint(got) != fmt.Sprint(stageOrder) {
					t.Errorf("hooks of clone %d: %v, want %v", number, got, stageOrder)
				}
			}
			passAll(t, im, all)
			other()
		})
	}
}

// One is a number, too, and the limits of descriptors are not those of clones.
func TestClonesCounts(t *testing.T) {
	im := testenv.Start(t, "static").Dump(t)
	for _, n := range []int{1, 2, 65, 300} {
		status, all, output := restoreClones(t, im, n)
		if status != 0 || len(all) != n || len(inits(t)) != n {
			t.Fatalf("%d: status %d, %d clones, %d first processes; output:\n%s", n, status, len(all), len(inits(t)),
				output)
		}
		passAll(t, im, all)
	}
	for words, want := range map[string]string{
		"--clones 0": "want how many, from 1 to", "--clones -1": "want how many", "--clones many": "want how many",
		"--clones 1048577":                   "want how many",
		"--clones 2 --exec-cmd -- true":      "--clones and --exec-cmd exclude each other",
		"--clones 2 --pie-pause POST_FILES":  "--clones and --pie-pause exclude each other",
		"--clones 2 -d --pidfile /tmp/clone": "--pidfile needs %n with --clones",
	} {
		status, output := tool(t, im, append([]string{"restore", "-D", im.Dir}, strings.Fields(words)...)...)
		if status != exitUsage || !strings.Contains(output, want) {
			t.Errorf("%s: status %d, want %d and %q; output:\n%s", words, status, exitUsage, want, output)
		}
	}
}

// A clone in which a hook fails is undone, and the others are not.
func TestClonesOneFails(t *testing.T) {
	im := testenv.Start(t, "sessions").Dump(t)
	plugin := testenv.Plugin(t, "testdata/plugins/fail.c")
	for _, stage := range stageOrder {
		for failing := 1; failing <= 3; failing++ {
			status, all, output := restoreClones(t, im, 3, "--pie-plugin",
				fmt.Sprintf("%s,how=error,stage=%s,clone=%%n,only=%d", plugin, stage, failing))
			want := fmt.Sprintf("crpie: clone %d: restore task", failing)
			if status != exitSome || len(all) != 2 || all[failing] != nil ||
				strings.Count(output, "EIO") != 1 || !strings.Contains(output, want) || !strings.HasSuffix(output, "crpie: restored 2 of 3 clones\n") {
				t.Fatalf("%s: status %d, clones %v, output:\n%s", stage, status, all, output)
			}
			collectAll()
			if n := len(inits(t)); n != 2 {
				t.Errorf("%s: %d first processes, want 2", stage, n)
			}
			passAll(t, im, all)
			if left := im.Leftovers(); len(left) > 0 {
				t.Fatalf("%s: left behind: %v", stage, left)
			}
		}
	}
}

// Values of parameters have the clone's number. What fails in each is told of each.
func TestClonesParameters(t *testing.T) {
	im := testenv.Start(t, "static").Dump(t)
	plugin := testenv.Plugin(t, "testdata/plugins/fail.c")
	status, output := tool(t, im, "restore", "-d", "-D", im.Dir, "--clones", "3", "-v0", "--format", "json",
		"--pie-plugin", plugin+",stage=POST_FILES,errno=%n")
	var doc jsonClones
	if err := json.Unmarshal([]byte(output), &doc); err != nil || status != exitFailed || doc.ExitStatus != status {
		t.Fatalf("status %d, %v: %s", status, err, output)
	}
	var errnos []string
	for i, c := range doc.Clones {
		if c.Clone != i+1 || c.Pid != 0 || c.Failure == nil {
			t.Fatalf("%+v", c)
		}
		errnos = append(errnos, c.Failure.Errno)
	}
	if want := []string{"EPERM", "ENOENT", "ESRCH"}; !slices.Equal(errnos, want) {
		t.Errorf("%v, want %v", errnos, want)
	}
	status, output = tool(t, im, "restore", "-d", "-D", im.Dir, "--clones", "3", "--pie-plugin",
		plugin+",stage=POST_FILES,errno=5", "-v0")
	if status != exitFailed || !strings.HasPrefix(output, "crpie: clones 1 to 3: restore task") ||
		!strings.HasSuffix(output, "\ncrpie: restored 0 of 3 clones\n") {
		t.Errorf("status %d, output:\n%s", status, output)
	}
	awaitNoInit(t)
}

// What only one clone can have is refused, all of it, before a process exists; what they change together is named.
func TestClonesRefuse(t *testing.T) {
	for name, wants := range map[string][]string{
		"unix":     {`victim \d+: it is in use`, `dgram\.sock: it is in use`, `hint: .*--join-ns net:/run/netns/`},
		"inflight": {`receiver\.sock: it is in use`},
		"ptys":     {`the master of /dev/pts/\d+: the number is taken`},
		"locks":    {`is locked: only one of the clones can have the lock`},
		"tcp":      {`: it is in use while`, `TCP from .*: only one can go on with it`},
		"static":   {},
	} {
		t.Run(name, func(t *testing.T) {
			im := testenv.Start(t, name).Dump(t)
			status, output := tool(t, im, "restore", "-d", "-D", im.Dir, "--clones", "2",
				"--tcp-established", "--dry-run")
			if refused := len(wants) > 0; refused != (status == exitFailed) {
				t.Errorf("status %d", status)
			}
			for _, want := range wants {
				if !regexp.MustCompile(want).MatchString(output) {
					t.Errorf("nothing says %s", want)
				}
			}
			if t.Failed() {
				t.Log(output)
			}
		})
	}
	im := testenv.Start(t, "static").Dump(t)
	status, output := tool(t, im, "restore", "-d", "-D", im.Dir, "--clones", "2", "--pie-plugin",
		testenv.Plugin(t, "testdata/plugins/fail.c")+",stage=TASK_CREATED")
	if want := "descriptor 1: .*/out is open for writing: each overwrites"; status != exitFailed ||
		len(regexp.MustCompile(want).FindAllString(output, -1)) != 1 {
		t.Errorf("status %d, want once %s; output:\n%s", status, want, output)
	}
	awaitNoInit(t)
}

// listener listens.
const listener = `
import os, signal, socket
s = socket.socket(); s.bind(("0.0.0.0", 0)); s.listen()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
print("READY", os.getpid(), flush=True)
signal.sigwait([signal.SIGUSR1])
print("PASS", flush=True)
`

// A port can be had once in a network namespace, and each clone can have another.
func TestClonesInNetworks(t *testing.T) {
	im := testenv.StartCommand(t, "listener", testenv.NeedTool(t, "python3"), "-c", listener).Dump(t)
	for _, place := range []string{"", "/proc/self/ns/net"} {
		words := []string{"restore", "-d", "-D", im.Dir, "--clones", "2", "--dry-run"}
		if place != "" {
			words = append(words, "--join-ns", "net:"+place)
		}
		status, output := tool(t, im, words...)
		if status != exitFailed || !strings.Contains(output, "it is in use while") {
			t.Errorf("in %q: status %d, output:\n%s", place, status, output)
		}
	}
	for number := 1; number <= 2; number++ {
		name := fmt.Sprintf("crpie-clone%d", number)
		shell(t, "ip", "netns", "add", name)
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
	}
	status, all, output := restoreClones(t, im, 2, "--join-ns", "net:/run/netns/crpie-clone%n")
	if status != 0 || len(all) != 2 {
		t.Fatalf("status %d, clones %v; output:\n%s", status, all, output)
	}
	for number, p := range all {
		want := inodeOf(t, fmt.Sprintf("/run/netns/crpie-clone%d", number))
		if is := inodeOf(t, fmt.Sprintf("/proc/%d/ns/net", p.Pid)); is != want {
			t.Errorf("clone %d is in network namespace %d, want %d", number, is, want)
		}
	}
	passAll(t, im, all)
}

// In JSON the clones' pids are told.
func TestClonesJSON(t *testing.T) {
	im := testenv.Start(t, "static").Dump(t)
	status, output := tool(t, im, "restore", "-d", "-D", im.Dir, "--clones", "2", "-v0", "--format", "json")
	var doc jsonClones
	if err := json.Unmarshal([]byte(output), &doc); err != nil || status != exitOK || len(doc.Clones) != 2 {
		t.Fatalf("status %d, %v: %s", status, err, output)
	}
	all := map[int]*testenv.Process{}
	for _, c := range doc.Clones {
		all[c.Clone] = im.AdoptAs(t, c.Pid)
	}
	passAll(t, im, all)
}

// In the foreground crpie waits for all, passes signals on to all, and gives the first status that is not 0.
func TestClonesInForeground(t *testing.T) {
	im := testenv.Start(t, "static").Dump(t)
	t.Run("signals", func(t *testing.T) {
		for sig, want := range map[syscall.Signal]int{syscall.SIGUSR1: 0, syscall.SIGTERM: 128 + 15} {
			r := start(t, im, "--clones", "3", "-v4")
			await(t, "three clones", func() bool { return strings.Count(r.output(), ": restored\n") == 3 })
			must(t, r.Process.Signal(sig))
			if status := r.ends(); status != want {
				t.Errorf("%v: status %d, want %d; output:\n%s", sig, status, want, r.output())
			}
			awaitNoInit(t)
		}
	})
	t.Run("one is killed", func(t *testing.T) {
		dir := t.TempDir()
		r := start(t, im, "--clones", "3", "-v4", "--pidfile", filepath.Join(dir, "pid.%n"))
		await(t, "three clones", func() bool { return strings.Count(r.output(), ": restored\n") == 3 })
		must(t, syscall.Kill(pidIn(t, filepath.Join(dir, "pid.2")), syscall.SIGKILL))
		for _, number := range []string{"1", "3"} {
			must(t, syscall.Kill(pidIn(t, filepath.Join(dir, "pid."+number)), syscall.SIGUSR1))
		}
		if status := r.ends(); status != 128+9 {
			t.Errorf("status %d, want %d; output:\n%s", status, 128+9, r.output())
		}
		awaitNoInit(t)
	})
}

// A signal ends the restore of the clone that is at work: those before it go on, and none comes after it. crpie that is
// killed leaves the same.
func TestClonesSignalled(t *testing.T) {
	im := testenv.Start(t, "sessions").Dump(t)
	// crpie ends a script when it has got the signal; until then the script keeps it from going on
	for sig, want := range map[string]int{"TERM $PPID; exec sleep infinity": 128 + 15, "KILL $PPID": 128 + 9} {
		for _, action := range []string{"pre-restore", "setup-namespaces", "post-setup-namespaces", "post-restore",
			"pre-resume"} {
			dir := t.TempDir()
			script := filepath.Join(dir, "script")
			text := fmt.Sprintf("#!/bin/sh\nif [ \"$CRTOOLS_SCRIPT_ACTION $CRPIE_CLONE\" = '%s 2' ]; "+
				"then kill -%s; fi\n", action, sig)
			must(t, os.WriteFile(script, []byte(text), 0o755))
			r := start(t, im, "-d", "--clones", "3", "--action-script", script, "--pidfile",
				filepath.Join(dir, "pid.%n"))
			if status := r.ends(); status != want {
				t.Errorf("%s at %s: status %d, want %d; output:\n%s", sig, action, status, want, r.output())
			}
			must(t, os.RemoveAll(filepath.Join(dir, "pid.2"))) // stays after SIGKILL
			await(t, "one clone", func() bool {
				collectAll()
				return len(inits(t)) == 1
			})
			all := adoptClones(t, im, dir)
			if len(all) != 1 || all[1] == nil {
				t.Fatalf("%s at %s: clones %v; output:\n%s", sig, action, all, r.output())
			}
			if want == 128+15 && !strings.HasSuffix(r.output(), "crpie: restored 1 of 3 clones\n") {
				t.Errorf("%s at %s: output:\n%s", sig, action, r.output())
			}
			passAll(t, im, all)
			await(t, "no task", func() bool { return len(im.Leftovers()) == 0 })
		}
	}
}

// Runs of numbers are told as such.
func TestNumberedClones(t *testing.T) {
	for want, numbers := range map[string][]int{
		"clone 3": {3}, "clones 1 to 2": {1, 2}, "clones 1, 3": {1, 3}, "clones 2, 4 to 7, 9": {2, 4, 5, 6, 7, 9},
	} {
		if got := numbered(numbers); got != want {
			t.Errorf("%v: %q, want %q", numbers, got, want)
		}
	}
}

// A value can name a file for each clone; a clone whose file is missing is named before a process exists.
func TestClonesValuesFromFiles(t *testing.T) {
	im := testenv.Start(t, "static").Dump(t)
	plugin, dir := testenv.Plugin(t, "testdata/plugins/fail.c"), t.TempDir()
	errno := map[int]string{1: "1", 2: "2"}
	for number, text := range errno {
		must(t, os.WriteFile(filepath.Join(dir, strconv.Itoa(number)), []byte(text), 0o600))
	}
	words := func(clones string) []string {
		return []string{"restore", "-d", "-v0", "-D", im.Dir, "--clones", clones, "--pie-plugin",
			plugin + ",stage=POST_FILES,errno=@" + dir + "/%n"}
	}
	status, output := tool(t, im, words("2")...)
	if status != exitFailed || !strings.Contains(output, "crpie: clone 1: ") || !strings.Contains(output, "(EPERM)") ||
		!strings.Contains(output, "crpie: clone 2: ") || !strings.Contains(output, "(ENOENT)") {
		t.Errorf("status %d, output:\n%s", status, output)
	}
	status, output = tool(t, im, words("3")...)
	if want := "crpie: clone 3: parameter errno=@" + dir + "/3: "; status != exitFailed ||
		!strings.HasPrefix(output, want) {
		t.Errorf("status %d, want %s; output:\n%s", status, want, output)
	}
	awaitNoInit(t)
}

// What a hook logs is in a file for each clone and process.
func TestClonesLogPid(t *testing.T) {
	im := testenv.Start(t, "static").Dump(t)
	log := filepath.Join(t.TempDir(), "log")
	status, all, output := restoreClones(t, im, 2, "--pie-plugin", trace(t), "-v4", "-o", log, "--log-pid")
	if status != 0 || len(all) != 2 {
		t.Fatalf("status %d, output:\n%s", status, output)
	}
	for number := 1; number <= 2; number++ {
		text, err := os.ReadFile(fmt.Sprintf("%s.%d.%d", log, number, im.Pid))
		must(t, err)
		lines := strings.Count(string(text), "\n")
		if its := strings.Count(string(text), fmt.Sprintf(" clone %d: %d: trace: ", number, im.Pid)); its != lines ||
			lines == 0 {
			t.Errorf("clone %d: %d lines, %d of its own:\n%s", number, lines, its, text)
		}
	}
	passAll(t, im, all)
}

// Stock criu dumps a clone, and the others go on.
func TestClonesSecondDump(t *testing.T) {
	criu := testenv.NeedCRIU(t)
	im := testenv.Start(t, "threads").Dump(t)
	dir, second := t.TempDir(), t.TempDir()
	status, output := toolIn(t, im, syscall.CLONE_NEWNS, "restore", "-d", "-D", im.Dir, "--clones", "2",
		"--pidfile", filepath.Join(dir, "pid.%n"))
	all := adoptClones(t, im, dir)
	if status != 0 || len(all) != 2 {
		t.Fatalf("status %d, output:\n%s", status, output)
	}
	argv := []string{"-t", strconv.Itoa(all[1].Pid), "-p", "-m", criu.Path, "dump", "-t", strconv.Itoa(im.Pid), "-D",
		second, "-o", "dump.log", "-v4"}
	if out, err := exec.Command(testenv.NeedTool(t, "nsenter"), argv...).CombinedOutput(); err != nil {
		log, _ := os.ReadFile(filepath.Join(second, "dump.log"))
		t.Fatalf("%v: %s\n%s", err, out, log)
	}
	must(t, all[1].WaitGone())
	delete(all, 1)
	passAll(t, im, all)
	status, all, output = restoreClones(t, im, 2, "-D", second)
	if status != 0 || len(all) != 2 {
		t.Fatalf("status %d, output:\n%s", status, output)
	}
	passAll(t, im, all)
}

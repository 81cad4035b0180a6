//go:build linux && amd64

package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/testenv"
)

const workerUID = 1234 // testdata/victims/workers.c

// captured is a plugin that does in a worker what somebody could who has captured it.
func captured(t *testing.T) string {
	t.Helper()
	return testenv.Plugin(t, "testdata/attackers/captured.c", "-I",
		filepath.Join(testenv.Root(), "restorer", "core", "src"))
}

// imagePids lists the pids of all tasks of an image directory.
func imagePids(t *testing.T, im *testenv.Images) (pids []int) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(im.Dir, "mm-*.img"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no tasks: %v", err)
	}
	for _, name := range names {
		pid, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(filepath.Base(name), "mm-"), ".img"))
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// Nothing that a worker can write in its part of the region reaches the root task or the controller.
func TestCapturedWorkerKeepsToItself(t *testing.T) {
	plugin := captured(t)
	for _, workers := range []string{"1", "40"} {
		im := testenv.Start(t, "workers", workers).Dump(t)
		for _, stage := range []string{"PRE_SIGRETURN_THREAD", "PRE_SIGRETURN"} {
			flag := filepath.Join("/tmp", "crpie-test-"+rand.Text()) // a worker has to reach it
			t.Cleanup(func() { os.Remove(flag) })
			p, _ := restore(t, im, "--pie-plugin", plugin+",stage="+stage+",how=take,flag="+flag)
			p.MustPass(t)
		}
	}
}

// asWorker does something to each process over and over again, as somebody who has nothing but a worker's uid, until
// stop.
func asWorker(t *testing.T, pids []int, do func(pid int)) (stop func()) {
	t.Helper()
	var over atomic.Bool
	ended := make(chan error)
	go sys.Apart(func() {
		err := becomeWorker()
		for err == nil && !over.Load() {
			for _, pid := range pids {
				do(pid)
			}
		}
		ended <- err
	})
	stop = sync.OnceFunc(func() {
		over.Store(true)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// becomeWorker changes the ids of this thread, unlike syscall.Setuid.
func becomeWorker() error {
	for _, call := range []struct{ nr, arg uintptr }{{syscall.SYS_SETGROUPS, 0},
		{syscall.SYS_SETRESGID, workerUID}, {syscall.SYS_SETRESUID, workerUID}} {
		if _, _, errno := syscall.RawSyscall(call.nr, call.arg, call.arg, call.arg); errno != 0 {
			return errno
		}
	}
	return nil
}

// attacker tries to get into the tasks.
type attacker struct {
	breach string       // what it found of a restore that was not over
	in     map[int]bool // the tasks that it could look into at last
}

func (a *attacker) attack(pid int) {
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer mem.Close()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil || len(maps) == 0 {
		return
	}
	a.in[pid] = true
	var region []string
	for line := range strings.Lines(string(maps)) {
		if strings.Contains(line, "memfd:crpie") {
			region = append(region, strings.TrimSpace(line))
		}
	}
	if len(region) > 0 && !lastPage(region) && a.breach == "" {
		a.breach = fmt.Sprintf("process %d:\n%s", pid, strings.Join(region, "\n"))
	}
}

// lastPage: the page of code with which the controller ends the restore of a task, when everything else is gone.
func lastPage(region []string) bool {
	var from, to uint64
	var prot string
	_, err := fmt.Sscanf(region[0], "%x-%x %s", &from, &to, &prot)
	return err == nil && len(region) == 1 && to-from == 4096 && prot == "r-xp"
}

// Whoever has a worker's uid gets into no task before its part of the region is gone, however long hooks take.
func TestNobodyLooksIn(t *testing.T) {
	plugin := captured(t)
	for _, workers := range []string{"1", "40"} {
		im := testenv.Start(t, "workers", workers).Dump(t)
		for _, stage := range stageOrder {
			for _, ms := range []int{0, 50, 2000} {
				if ms == 2000 && stage != "PRE_SIGRETURN" {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s/%d ms", workers, stage, ms), func(t *testing.T) {
					if in := lookIn(t, im, fmt.Sprintf("%s,stage=%s,how=sleep,ms=%d", plugin,
						stage, ms)); in == 0 {
						t.Error("the attacker never got into a worker, not even afterwards")
					}
				})
			}
		}
	}
}

// lookIn restores under attack; it returns how many tasks can be looked into afterwards.
func lookIn(t *testing.T, im *testenv.Images, plugin string) int {
	t.Helper()
	a := &attacker{in: map[int]bool{}}
	stop := asWorker(t, imagePids(t, im), a.attack)
	p, _ := restore(t, im, "--pie-plugin", plugin)
	time.Sleep(20 * time.Millisecond) // for it to get in
	stop()
	if a.breach != "" {
		t.Error(a.breach)
	}
	p.MustPass(t)
	return len(a.in)
}

// Where a change of ids opens processes to those who have the uid (fs.suid_dumpable, proc_sys_fs(5)), it opens none
// that is restored, and none that was closed.
func TestNobodyLooksInWithSuidDumpable(t *testing.T) {
	plugin := captured(t)
	opened := testenv.Start(t, "workers", "3").Dump(t)
	closed := testenv.Start(t, "workers", "3", "closed").Dump(t)
	testenv.Sysctl(t, "fs/suid_dumpable", "1")
	for _, stage := range []string{"PRE_CREDS", "PRE_SIGRETURN_THREAD", "PRE_SIGRETURN"} {
		spec := plugin + ",stage=" + stage + ",how=sleep,ms=50"
		if in := lookIn(t, opened, spec); in == 0 {
			t.Errorf("%s: the attacker never got into a worker, not even afterwards", stage)
		}
		if in := lookIn(t, closed, spec); in != 0 {
			t.Errorf("%s: the attacker got into %d workers that were closed", stage, in)
		}
	}
}

// flood sends stop signals to processes until it is stopped.
func flood(pids []int, signals ...syscall.Signal) (stop func()) {
	var over atomic.Bool
	var done sync.WaitGroup
	done.Go(func() {
		for !over.Load() {
			for _, pid := range pids {
				for _, sig := range signals {
					syscall.Kill(pid, sig)
				}
			}
		}
	})
	return func() { over.Store(true); done.Wait() }
}

// Somebody who may signal the tasks stops them all the time: the restore is not undone, and what was running runs.
func TestStopSignalsFailNoRestore(t *testing.T) {
	plugin := captured(t)
	for _, tc := range []struct {
		victim  string
		arg     []string
		signals []syscall.Signal
	}{
		{"workers", []string{"1"}, []syscall.Signal{syscall.SIGSTOP}},
		{"workers", []string{"3"}, []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT}},
		{"threads", nil, []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT, syscall.SIGTSTP, syscall.SIGTTIN,
			syscall.SIGTTOU}},
		{"tree", []string{"4"}, []syscall.Signal{syscall.SIGSTOP}},
	} {
		t.Run(fmt.Sprint(tc.victim, tc.signals), func(t *testing.T) {
			im := testenv.Start(t, tc.victim, tc.arg...).Dump(t)
			for range 4 {
				stop := flood(imagePids(t, im), tc.signals...)
				p, _ := restore(t, im, "--pie-plugin", plugin+",stage=PRE_SIGRETURN,how=sleep,ms=20")
				stop()
				for _, pid := range imagePids(t, im) {
					syscall.Kill(pid, syscall.SIGCONT)
				}
				p.MustPass(t)
			}
		})
	}
}

// A SIGSTOP that comes in the middle is dropped: the task was running.
func TestStopSignalIsDropped(t *testing.T) {
	im := testenv.Start(t, "workers", "1").Dump(t)
	pids := imagePids(t, im)
	over := make(chan struct{})
	go func() { // until something has been stopped
		defer close(over)
		for end := time.Now().Add(testenv.Timeout); time.Now().Before(end); time.Sleep(time.Millisecond) {
			for _, pid := range pids {
				if comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); string(
					comm) == "worker\n" && syscall.Kill(pid, syscall.SIGSTOP) == nil {
					return
				}
			}
		}
	}()
	p, _ := restore(t, im, "--pie-plugin", captured(t)+",stage=PRE_SIGRETURN,how=sleep,ms=500")
	<-over
	for _, pid := range pids {
		if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err != nil ||
			strings.Contains(string(stat), ") T ") {
			t.Errorf("%v: %s", err, stat)
		}
	}
	p.MustPass(t)
}

// Three threads with a worker's uid do nothing but stop the workers: that fails no restore, and takes no minute.
func TestStopFloodOfWorkers(t *testing.T) {
	im := testenv.Start(t, "workers", "3").Dump(t)
	plugin := captured(t)
	for range 3 {
		var stops []func()
		var sent atomic.Int64
		for range 3 {
			stops = append(stops, asWorker(t, imagePids(t, im), func(pid int) {
				if syscall.Kill(pid, syscall.SIGSTOP) == nil {
					sent.Add(1)
				}
			}))
		}
		began := time.Now()
		p, _ := restore(t, im, "--pie-plugin", plugin+",stage=PRE_SIGRETURN,how=sleep,ms=50",
			"--progress-timeout", "20s")
		t.Logf("%v, %d signals", time.Since(began).Round(time.Millisecond), sent.Load())
		for _, stop := range stops {
			stop()
		}
		if sent.Load() < 100 {
			t.Errorf("only %d signals", sent.Load())
		}
		for _, pid := range imagePids(t, im) {
			syscall.Kill(pid, syscall.SIGCONT)
		}
		p.MustPass(t)
	}
}

// Whoever has a worker's uid may change its limits, prlimit(2), while it is restored as before and after: that fails no
// restore, and no other task has other limits for that.
func TestLimitsOfWorkersLowered(t *testing.T) {
	victim := testenv.Start(t, "workers", "3")
	was := limitsOf(t, victim.Pid)
	im := victim.Dump(t)
	var lowered atomic.Int64
	stop := asWorker(t, imagePids(t, im), func(pid int) {
		for _, resource := range []int{unix.RLIMIT_AS, unix.RLIMIT_NOFILE, unix.RLIMIT_SIGPENDING,
			unix.RLIMIT_NPROC, unix.RLIMIT_STACK} {
			if unix.Prlimit(pid, resource, &unix.Rlimit{}, nil) == nil {
				lowered.Add(1)
			}
		}
	})
	p, _ := restore(t, im, "--pie-plugin", captured(t)+",stage=PRE_SIGRETURN,how=sleep,ms=50")
	stop()
	if lowered.Load() == 0 {
		t.Error("no limit was lowered")
	}
	if is := limitsOf(t, im.Pid); is != was {
		t.Errorf("the limits of the root task are\n%s\nwere\n%s", is, was)
	}
	p.MustPass(t)
}

func limitsOf(t *testing.T, pid int) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

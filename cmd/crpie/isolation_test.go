//go:build linux && amd64

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/crpie/crpie/internal/testenv"
)

const workerUID = 1234 // testdata/victims/workers.c

// captured is a plugin that does in a worker what somebody could who has captured it.
func captured(t *testing.T) string {
	t.Helper()
	return testenv.Plugin(t, "testdata/attackers/captured.c", "-I", filepath.Join(testenv.Root(), "restorer", "core", "src"))
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
			flag := filepath.Join("/tmp", fmt.Sprintf("crpie-test-%d-%s-%s", os.Getpid(), workers, stage)) // a worker has to reach it
			t.Cleanup(func() { os.Remove(flag) })
			p, _ := restore(t, im, "--pie-plugin", plugin+",stage="+stage+",how=take,flag="+flag)
			p.MustPass(t)
		}
	}
}

// attacker has nothing but a worker's uid. It tries to get into the tasks until it is stopped.
type attacker struct {
	pids   []int
	stop   atomic.Bool
	done   sync.WaitGroup
	breach string       // what it found of a restore that was not over
	in     map[int]bool // the tasks that it could look into at last
	err    error
}

func (a *attacker) start() {
	a.in = map[int]bool{}
	a.done.Go(func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		for _, call := range []uintptr{syscall.SYS_SETGROUPS, syscall.SYS_SETRESGID, syscall.SYS_SETRESUID} {
			args := [3]uintptr{workerUID, workerUID, workerUID}
			if call == syscall.SYS_SETGROUPS {
				args = [3]uintptr{}
			}
			if _, _, errno := syscall.RawSyscall(call, args[0], args[1], args[2]); errno != 0 { // of this thread, unlike syscall.Setuid
				a.err = errno
				return
			}
		}
		for !a.stop.Load() {
			for _, pid := range a.pids {
				a.attack(pid)
			}
		}
	})
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
				a := &attacker{pids: imagePids(t, im)}
				a.start()
				p, _ := restore(t, im, "--pie-plugin", fmt.Sprintf("%s,stage=%s,how=sleep,ms=%d", plugin, stage, ms))
				time.Sleep(20 * time.Millisecond) // for it to get in
				a.stop.Store(true)
				a.done.Wait()
				if a.err != nil || a.breach != "" {
					t.Errorf("%s workers, %s takes %d ms: %v\n%s", workers, stage, ms, a.err, a.breach)
				}
				if len(a.in) == 0 {
					t.Errorf("%s workers, %s takes %d ms: the attacker never got into a worker, not even afterwards", workers, stage, ms)
				}
				p.MustPass(t)
			}
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
		{"threads", nil, []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU}},
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
				if comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); string(comm) == "worker\n" && syscall.Kill(pid, syscall.SIGSTOP) == nil {
					return
				}
			}
		}
	}()
	p, _ := restore(t, im, "--pie-plugin", captured(t)+",stage=PRE_SIGRETURN,how=sleep,ms=500")
	<-over
	for _, pid := range pids {
		if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err != nil || strings.Contains(string(stat), ") T ") {
			t.Errorf("%v: %s", err, stat)
		}
	}
	p.MustPass(t)
}

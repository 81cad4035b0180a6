//go:build linux

package testenv

import (
	"fmt"
	"strings"
	"testing"

	"github.com/crpie/crpie/images"
)

// waitedFor is SIGUSR1: victims block it and wait for it, and while they wait the kernel shows it as not blocked.
const waitedFor = 1 << 9

// compareImages holds the images of a single task against a snapshot of it.
func compareImages(t *testing.T, d *images.Dir, s Snapshot) {
	t.Helper()
	task := d.Tasks[0]
	tc, th := task.Core.GetTc(), task.Core.GetThreadCore()
	facts := map[string]string{
		"status Pid":     fmt.Sprint(task.Pid),
		"stat session":   fmt.Sprint(task.Sid),
		"stat pgrp":      fmt.Sprint(task.Pgid),
		"status Threads": fmt.Sprint(len(task.Threads)),
		"comm":           fmt.Sprintf("%q", tc.GetComm()+"\n"),
		"exe":            d.Files[task.Mm.GetExeFileId()].GetReg().GetName(),
		"cwd":            d.Files[task.Fs.GetCwdId()].GetReg().GetName(),
		"status Umask":   fmt.Sprintf("%04o", task.Fs.GetUmask()),
		"stat nice":      fmt.Sprint(th.GetSchedNice()),
		"status SigBlk":  fmt.Sprintf("%016x", tc.GetBlkSigset()&^waitedFor),
		"status CapEff":  fmt.Sprintf("%08x%08x", th.GetCreds().GetCapEff()[1], th.GetCreds().GetCapEff()[0]),
		"stat start_brk": fmt.Sprint(task.Mm.GetMmStartBrk()),
		"stat arg_start": fmt.Sprint(task.Mm.GetMmArgStart()),
	}
	for key, want := range facts {
		if s[key] != want {
			t.Errorf("%s: the images say %s, /proc said %s", key, want, s[key])
		}
	}
	compareVmas(t, task, s)
	compareFds(t, d, task, s)
	for _, thread := range task.Threads {
		is, was := thread.Core.GetThreadCore().GetComm(), s[fmt.Sprintf("thread %d Name", thread.Tid)]
		if strings.TrimSpace(is) != was {
			t.Errorf("thread %d: the images say %s, /proc said %s", thread.Tid, is, was)
		}
	}
	if len(d.Other) > 0 || len(d.Unknown) > 0 {
		t.Errorf("not looked into: %v; unknown: %v", d.Other, d.Unknown)
	}
	if _, err := d.Pieces(task.Pagemap); err != nil {
		t.Error(err)
	}
}

// compareVmas: every VMA of the images is in /proc/PID/smaps with the same end and the other way round; only the
// kernel's own pages at the end are split differently.
func compareVmas(t *testing.T, task *images.Task, s Snapshot) {
	t.Helper()
	seen := 0
	for _, v := range task.Mm.GetVmas() {
		line, ok := s[fmt.Sprintf("map %08x", v.GetStart())]
		if !ok {
			t.Errorf("VMA 0x%x-0x%x is not in smaps", v.GetStart(), v.GetEnd())
			continue
		}
		seen++
		if v.GetStatus()&images.VmaVvar == 0 && !strings.HasPrefix(line, fmt.Sprintf("-%08x ", v.GetEnd())) {
			t.Errorf("VMA 0x%x-0x%x: smaps has %s", v.GetStart(), v.GetEnd(), line)
		}
	}
	for key, line := range s {
		if strings.HasPrefix(key, "map ") && !strings.Contains(line, "[vvar_vclock]") {
			seen--
		}
	}
	if seen != 0 {
		t.Errorf("the images have %+d VMAs compared with smaps", seen)
	}
}

func compareFds(t *testing.T, d *images.Dir, task *images.Task, s Snapshot) {
	t.Helper()
	for _, fd := range task.Fds {
		key := fmt.Sprintf("fd %d", fd.GetFd())
		if s[key] == "" {
			t.Errorf("%s is not in /proc", key)
		}
		if reg := d.Files[fd.GetId()].GetReg(); reg != nil {
			if s[key] != reg.GetName() || s[key+" pos"] != fmt.Sprint(reg.GetPos()) {
				t.Errorf("%s: the images say %s at %d, /proc said %s at %s", key, reg.GetName(),
					reg.GetPos(), s[key], s[key+" pos"])
			}
		}
	}
}

package planner

import (
	"testing"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// A task is stopped again by the signal that had stopped it, if that would stop it.
func TestStopSignal(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(tsk *images.Task)
		want   int
	}{
		"terminal": {func(*images.Task) {}, uapi.SigTstp},
		"running":  {func(tsk *images.Task) { tsk.Core.Tc.TaskState = pb.Uint32(images.StateAlive) }, 0},
		"SIGSTOP": {func(tsk *images.Task) {
			tsk.Core.Tc.StopSigno = pb.Uint32(uapi.SigStop)
		}, uapi.SigStop},
		"older CRIU": {func(tsk *images.Task) { tsk.Core.Tc.StopSigno = nil }, uapi.SigStop},
		"caught": {func(tsk *images.Task) {
			tsk.Core.Tc.Sigactions[17].Sigaction = pb.Uint64(0x400000)
		}, uapi.SigStop},
		"blocked": {func(tsk *images.Task) {
			tsk.Core.ThreadCore.BlkSigset = pb.Uint64(1 << (uapi.SigTstp - 1))
		}, uapi.SigStop},
		"orphan group": {func(tsk *images.Task) { tsk.Parent = nil }, uapi.SigStop},
		"one group":    {func(tsk *images.Task) { tsk.Pgid = tsk.Parent.Pgid }, uapi.SigStop},
	} {
		t.Run(name, func(t *testing.T) {
			core := &pb.CoreEntry{ThreadCore: &pb.ThreadCoreEntry{}, Tc: &pb.TaskCoreEntry{
				TaskState: pb.Uint32(images.StateStopped), StopSigno: pb.Uint32(uapi.SigTstp)}}
			for range uapi.NrSignals - 2 {
				core.Tc.Sigactions = append(core.Tc.Sigactions, &pb.SaEntry{Sigaction: pb.Uint64(0)})
			}
			parent := &images.Task{Pid: 10, Pgid: 10, Sid: 10}
			child := &images.Task{Pid: 11, Pgid: 11, Sid: 10, Parent: parent, Core: core,
				Threads: []images.Thread{{Tid: 11, Core: core}}}
			tc.change(child)
			p := &taskPlanner{
				planner: &planner{Job: &job.Job{Dir: &images.Dir{Tasks: []*images.Task{parent,
					child}}}}, Process: &job.Process{Img: child},
			}
			if got := p.stopSignal(); got != tc.want {
				t.Errorf("signal %d, want %d", got, tc.want)
			}
		})
	}
}

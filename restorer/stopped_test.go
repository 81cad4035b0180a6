package restorer

import (
	"testing"

	criu_core "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-core"
	criu_sa "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-sa"
	"google.golang.org/protobuf/proto"

	"github.com/crpie/crpie/images"
)

// A task is stopped again by the signal that had stopped it, if that would stop it.
func TestStopSignal(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(tsk *images.Task)
		want   int
	}{
		"terminal":     {func(*images.Task) {}, sigTstp},
		"running":      {func(tsk *images.Task) { tsk.Core.Tc.TaskState = proto.Uint32(images.StateAlive) }, 0},
		"SIGSTOP":      {func(tsk *images.Task) { tsk.Core.Tc.StopSigno = proto.Uint32(sigStop) }, sigStop},
		"older CRIU":   {func(tsk *images.Task) { tsk.Core.Tc.StopSigno = nil }, sigStop},
		"caught":       {func(tsk *images.Task) { tsk.Core.Tc.Sigactions[17].Sigaction = proto.Uint64(0x400000) }, sigStop},
		"blocked":      {func(tsk *images.Task) { tsk.Core.ThreadCore.BlkSigset = proto.Uint64(1 << (sigTstp - 1)) }, sigStop},
		"orphan group": {func(tsk *images.Task) { tsk.Parent = nil }, sigStop},
		"one group":    {func(tsk *images.Task) { tsk.Pgid = tsk.Parent.Pgid }, sigStop},
	} {
		t.Run(name, func(t *testing.T) {
			core := &criu_core.CoreEntry{ThreadCore: &criu_core.ThreadCoreEntry{}, Tc: &criu_core.TaskCoreEntry{
				TaskState: proto.Uint32(images.StateStopped), StopSigno: proto.Uint32(sigTstp)}}
			for range nrSignals - 2 {
				core.Tc.Sigactions = append(core.Tc.Sigactions, &criu_sa.SaEntry{Sigaction: proto.Uint64(0)})
			}
			parent := &images.Task{Pid: 10, Pgid: 10, Sid: 10}
			child := &images.Task{Pid: 11, Pgid: 11, Sid: 10, Parent: parent, Core: core, Threads: []images.Thread{{Tid: 11, Core: core}}}
			tc.change(child)
			p := &taskPlanner{
				planner: &planner{job: &job{dir: &images.Dir{Tasks: []*images.Task{parent, child}}}}, jobTask: &jobTask{img: child},
			}
			if got := p.stopSignal(); got != tc.want {
				t.Errorf("signal %d, want %d", got, tc.want)
			}
		})
	}
}

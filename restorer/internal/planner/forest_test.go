package planner

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/refusal"
	"github.com/crpie/crpie/restorer/internal/host/hosttest"
	"github.com/crpie/crpie/restorer/internal/plan"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// Trees of every shape that processes can have come to are restored as they were, or refused, whoever is faster. The
// victim forest tries the same with few of them.
func TestForest(t *testing.T) {
	sample, trees, restored := sampleFS(t, "tree"), uint64(200), 0
	for seed := range trees {
		rng := rand.New(rand.NewPCG(seed, 0))
		refused, err := restoreForest(t, sample, growForest(rng), rng)
		if err != nil {
			t.Errorf("seed %d: %v", seed, err)
		} else if !refused {
			restored++
		}
	}
	if restored < int(trees)/2 {
		t.Errorf("only %d of %d trees were not refused", restored, trees)
	}
}

// Shapes in which a helper was once in the wrong session, or could not have the number it needs.
func TestFamilies(t *testing.T) {
	const leader, dead, orphan, child, gone = forestRoot + 1, forestRoot + 2, forestRoot + 3, forestRoot + 4,
		forestRoot + 5
	for name, family := range map[string][]process{
		"orphans of a leader and of its child, a leader and zombie": {
			{pid: leader, ppid: forestRoot, pgid: leader, sid: leader},
			{pid: dead, ppid: leader, pgid: dead, sid: dead, dead: true},
			{pid: orphan, ppid: forestRoot, pgid: dead, sid: dead},
			{pid: child, ppid: forestRoot, pgid: leader, sid: leader},
		},
		"an orphan that has left the group of the leader who is gone, with a child that has not": {
			{pid: orphan, ppid: forestRoot, pgid: orphan, sid: gone},
			{pid: child, ppid: orphan, pgid: gone, sid: gone},
		},
	} {
		t.Run(name, func(t *testing.T) {
			was := processes{forestRoot: {pid: forestRoot, pgid: forestRoot, sid: forestRoot, reaper: true}}
			for _, p := range family {
				was[p.pid] = &p
			}
			refused, err := restoreForest(t, sampleFS(t, "tree"), was, rand.New(rand.NewPCG(0, 0)))
			if refused || err != nil {
				t.Errorf("refused: %v, error: %v", refused, err)
			}
		})
	}
}

// restoreForest plans images of the processes and carries the plan out.
func restoreForest(t *testing.T, sample fs.FS, was processes, rng *rand.Rand) (refused bool, err error) {
	dir := openSample(t, sample)
	plant(dir, was)
	p, err := buildSample(t, dir, hosttest.New(dir), &job.Options{Readers: -1})
	if why := (*refusal.Refusal)(nil); errors.As(err, &why) {
		return true, nil
	} else if err != nil {
		return false, err
	}
	is, err := newRace(p, rng).run()
	if err != nil {
		return false, err
	}
	for pid, w := range was {
		if i := is[pid]; i == nil || *i != *w {
			return false, fmt.Errorf("process %d is %+v, was %+v", pid, i, w)
		}
	}
	if len(is) != len(was) {
		return false, fmt.Errorf("%d processes, were %d", len(is), len(was))
	}
	return false, nil
}

const forestRoot = 10287

// growForest has processes do what moves them about, until there are some.
func growForest(rng *rand.Rand) processes {
	k := processes{forestRoot: {pid: forestRoot, pgid: forestRoot, sid: forestRoot, reaper: true}}
	next, size := uint32(forestRoot), 4+rng.IntN(32)
	for len(k) < size {
		p := k[slices.Sorted(maps.Keys(k))[rng.IntN(len(k))]]
		if p.dead {
			continue
		}
		switch n := rng.IntN(20); {
		case n < 8:
			next++
			_, _ = k.fork(p, next)
		case n < 11:
			_ = k.setsid(p) // what the kernel does not allow does not matter
		case n < 12:
			_ = k.setpgid(p, p.pid, p.pid)
		case n < 14:
			_ = k.setpgid(p, p.pid, next)
		case n < 15:
			p.reaper = true
		case p.pid != forestRoot:
			k.exit(p)
			if rng.IntN(2) == 0 {
				k.reap(p)
			}
		}
	}
	return k
}

// plant makes the images of processes, of what the sample has.
func plant(dir *images.Dir, k processes) {
	living, dead := dir.Tasks[1], dir.Tasks[3]
	planted := map[uint32]*images.Task{}
	for _, pid := range slices.Sorted(maps.Keys(k)) {
		sample := living
		if k[pid].dead {
			sample = dead
		}
		t := *sample
		t.Pid, t.Ppid, t.Pgid, t.Sid, t.Parent, t.Children, t.Fds = pid, k[pid].ppid, k[pid].pgid, k[pid].sid,
			nil, nil, nil
		t.Core = pb.Clone(sample.Core)
		t.Core.GetTc().ChildSubreaper = pb.Bool(k[pid].reaper)
		t.Threads = []images.Thread{{Tid: pid, Core: t.Core}}
		if t.Ids != nil {
			t.Ids = pb.Clone(t.Ids)
			t.Ids.VmId, t.Ids.FilesId, t.Ids.FsId, t.Ids.SighandId = &pid, &pid, &pid, &pid
		}
		planted[pid] = &t
	}
	for _, pid := range slices.Sorted(maps.Keys(k)) {
		if t := planted[pid]; t.Ppid != 0 {
			t.Parent = planted[t.Ppid]
			t.Parent.Children = append(t.Parent.Children, t)
		}
	}
	dir.Tasks = descendants(planted[forestRoot])
}

// descendants lists a task and all below it, in the order of pstree.img.
func descendants(t *images.Task) []*images.Task {
	all := []*images.Task{t}
	for _, child := range t.Children {
		all = append(all, descendants(child)...)
	}
	return all
}

// race carries out the programs of a plan in the model, all at the same time, in an order that chance decides.
type race struct {
	plan      *plan.Plan
	rng       *rand.Rand
	processes processes
	runners   []*runner
	marks     map[int]uint64 // by status
	ready     int
}

// runner is a process at work on its program.
type runner struct {
	*process
	task *plan.Task
	at   int
	done bool
}

func newRace(p *plan.Plan, rng *rand.Rand) *race {
	r := &race{plan: p, rng: rng, processes: processes{}, marks: map[int]uint64{}}
	r.begin(&process{pid: forestRoot, pgid: 1, sid: 1}, p.Tasks[0])
	return r
}

func (r *race) begin(p *process, t *plan.Task) {
	r.processes[p.pid] = p
	r.runners = append(r.runners, &runner{process: p, task: t})
}

// run gives the processes that are left when all programs have ended.
func (r *race) run() (processes, error) {
	for {
		moved, waiting := false, 0
		for _, i := range r.rng.Perm(len(r.runners)) {
			w := r.runners[i]
			if w.done {
				continue
			}
			waiting++
			for steps := r.rng.IntN(8); steps >= 0 && !w.done; steps-- {
				op := &w.task.Threads[0].Ops[w.at]
				went, err := r.step(w, op)
				if err != nil {
					return nil, fmt.Errorf("task %d operation %d: %s: %w", w.pid, w.at, op, err)
				}
				if !went {
					break
				}
				w.at, moved = w.at+1, true
			}
		}
		if waiting == 0 {
			return r.processes, nil
		}
		if !moved {
			return nil, fmt.Errorf("%d tasks wait for ever", waiting)
		}
	}
}

// step carries out an operation; it reports whether that does not have to wait.
func (r *race) step(w *runner, op *plan.Op) (went bool, err error) {
	switch op.Code {
	case abi.OpCloneTask:
		t := r.plan.Tasks[op.Args[0]]
		child, err := r.processes.fork(w.process, uint32(t.Pid))
		if err != nil {
			return false, err
		}
		r.begin(child, t)
	case abi.OpNotify:
		r.ready += int(op.Args[0])
	case abi.OpWaitGate:
		return r.ready == len(r.plan.Alive()), nil
	case abi.OpSetMark:
		r.marks[w.task.StatusIndex] = op.Args[0]
	case abi.OpWaitMark:
		return r.marks[int(op.Args[0])] >= op.Args[1], nil
	case abi.OpSetPdeathsig:
		if uint64(w.ppid) != op.Args[0] {
			return false, fmt.Errorf("its parent is %d", w.ppid)
		}
	case abi.OpPark:
		w.done = true
	case abi.OpExitGroup:
		r.end(w)
	case abi.OpSyscall:
		return r.call(w, op)
	}
	return true, nil
}

func (r *race) end(w *runner) {
	w.done = true
	r.processes.exit(w.process)
}

// call carries out the system calls that move processes about; nothing depends on others.
func (r *race) call(w *runner, op *plan.Op) (went bool, err error) {
	switch first, second := uint32(op.Args[0]), uint32(op.Args[1]); op.Nr {
	case uapi.SysSetsid:
		return true, r.processes.setsid(w.process)
	case uapi.SysSetpgid:
		if first == 0 {
			first = w.pid
		}
		if second == 0 {
			second = first
		}
		return true, r.processes.setpgid(w.process, first, second)
	case uapi.SysPrctl:
		w.reaper = w.reaper || first == uapi.PrSetChildSubreaper
	case uapi.SysKill:
		r.end(w)
	case uapi.SysWaitid:
		return r.wait(w, second, op.Args[3]&uapi.WNowait == 0)
	}
	return true, nil
}

func (r *race) wait(w *runner, pid uint32, reap bool) (went bool, err error) {
	p := r.processes[pid]
	switch {
	case p == nil || p.ppid != w.pid:
		return false, errors.New("not its child")
	case p.dead && reap:
		r.processes.reap(p)
	}
	return p.dead, nil
}

package planner

import (
	"encoding/binary"
	"testing"
	"testing/fstest"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/restorer/internal/host/hosttest"
	"github.com/crpie/crpie/restorer/internal/planner/job"
	"github.com/crpie/crpie/restorer/internal/planner/mem"
)

// aioSample is a dump whose first mapping that has contents is the ring of an AIO context.
func aioSample(t *testing.T, nr, head, tail uint32) (*images.Dir, *pb.MmEntry) {
	t.Helper()
	fsys := sampleFS(t, "static")
	dir := openSample(t, fsys)
	task := dir.Tasks[0]
	run := task.Pagemap.Runs[0]
	for _, v := range task.Mm.Vmas {
		if v.GetStart() > run.Vaddr || v.GetEnd() <= run.Vaddr {
			continue
		}
		v.Start, v.End, v.Status = pb.Uint64(run.Vaddr), pb.Uint64(run.Vaddr+memory.PageSize),
			pb.Uint32(images.VmaAioRing)
		task.Pagemap.Runs = []images.Run{{Vaddr: run.Vaddr, Pages: 1, Flags: run.Flags, Offset: run.Offset}}
		task.Mm.Aios = []*pb.AioRingEntry{{Id: v.Start, NrReq: pb.Uint32(62),
			RingLen: pb.Uint32(memory.PageSize)}}
	}
	ring := make([]byte, memory.PageSize)
	for i, word := range []uint32{0, nr, head, tail, mem.AioMagic} {
		binary.LittleEndian.PutUint32(ring[4*i:], word)
	}
	fsys[task.Pagemap.PagesFile] = &fstest.MapFile{Data: append(make([]byte, run.Offset), ring...)}
	return dir, task.Mm
}

func TestAioRefusals(t *testing.T) {
	for name, tc := range map[string]struct {
		nr, head, tail uint32
		change         func(d *images.Dir, m *pb.MmEntry)
		want           string
	}{
		"size": {128, 0, 0, nil, ": AIO ring of 128 events with head 0 and tail 0, want 127 events"},
		"head": {127, 127, 0, nil, ": AIO ring of 127 events with head 127 and tail 0, want 127 events"},
		"tail": {127, 0, 1 << 31, nil,
			": AIO ring of 127 events with head 0 and tail 2147483648, want 127 events"},
		"two contexts": {127, 0, 0, func(_ *images.Dir, m *pb.MmEntry) {
			m.Aios = append(m.Aios, &pb.AioRingEntry{Id: pb.Uint64(1)})
		},
			": 2 AIO contexts (io_setup(2)), but only 1 rings of them"},
		"length": {127, 0, 0, func(_ *images.Dir, m *pb.MmEntry) {
			m.Aios[0].RingLen = pb.Uint32(2 * memory.PageSize)
		},
			": AIO ring without a context (io_setup(2)) of its own: not supported"},
		"contents": {127, 0, 0, func(d *images.Dir, _ *pb.MmEntry) { d.Tasks[0].Pagemap.Runs = nil },
			": AIO ring without contents"},
		"limit": {127, 0, 0, func(_ *images.Dir, m *pb.MmEntry) { m.Aios[0].NrReq = pb.Uint32(70000) },
			"this host: the tasks' AIO contexts are for 70000 requests, of which 65536 are free\n  hint: raise /proc/sys/fs/aio-max-nr by 4464"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, m := aioSample(t, tc.nr, tc.head, tc.tail)
			if tc.change != nil {
				tc.change(dir, m)
			}
			_, err := buildSample(t, dir, hosttest.New(dir), &job.Options{})
			wantRefusal(t, err, tc.want)
		})
	}
	dir, _ := aioSample(t, 127, 100, 10)
	if _, err := buildSample(t, dir, hosttest.New(dir), &job.Options{}); err != nil {
		t.Errorf("a good ring: %v", err)
	}
}

//go:build amd64

package run

import (
	"encoding/binary"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/restorer/internal/plan"
)

// regionName is what /proc/PID/maps calls the blob and the plan.
const regionName = "crpie"

// share is what the controller has of the tasks' region: the files that the zygote maps, and its own mappings of them.
// restorer/core/src/core.h says who may write what.
type share struct {
	files  []*os.File // in the order of their descriptors
	shared []byte     // struct crpie_shared
	ctl    []byte     // struct crpie_control
	bell   []byte     // struct crpie_bell
}

// make creates the files with blob and plan in them. From then on tasks cannot change those, whatever they do.
func (s *share) make(p *plan.Plan) error {
	reg := &p.Region
	for _, part := range []struct {
		name         string
		size         uint64
		mapping      *[]byte
		from, length uint64
	}{
		{regionName, reg.SealedSize(), &s.ctl, reg.ControlOff(), reg.Bell - reg.Control},
		{"crpie-shared", reg.Control - reg.Shared, &s.shared, 0, reg.Control - reg.Shared},
		{"crpie-bell", reg.Stacks - reg.Bell, &s.bell, 0, reg.Stacks - reg.Bell},
	} {
		f, err := sys.Memfd(part.name, int64(part.size), false)
		if err != nil {
			return err
		}
		s.files = append(s.files, f)
		if *part.mapping, err = sys.MapShared(f, int64(part.from), int(part.length)); err != nil {
			return err
		}
	}
	sealed, rest := s.files[0], s.files[1:]
	if err := writeSealed(sealed, p); err != nil {
		return err
	}
	for _, f := range rest {
		if err := sys.SealSize(f); err != nil {
			return err
		}
	}
	controller := os.Getpid()
	if p.PidNamespace { // in which it has no number
		controller = -p.ControllerFD
	}
	s.tell(abi.ControlControllerOff, uint32(controller))
	return sys.SealContents(sealed)
}

// writeSealed writes what nobody can change any more once the memfd is sealed: blob and plan.
func writeSealed(f *os.File, p *plan.Plan) error {
	for _, s := range p.Image.Segments {
		if _, err := f.WriteAt(s.Data, int64(uint64(s.Addr)-p.Region.Start)); err != nil {
			return fmt.Errorf("write blob: %w", err)
		}
	}
	if _, err := f.WriteAt(p.Arena.Contents(), int64(p.Region.PlanOff())); err != nil {
		return fmt.Errorf("write plan: %w", err)
	}
	return nil
}

// close unmaps the parts that the controller shares with the tasks.
func (s *share) close() {
	for _, b := range [][]byte{s.shared, s.ctl, s.bell} {
		if b != nil {
			_ = sys.Unmap(b)
		}
	}
	for _, f := range s.files {
		f.Close()
	}
}

// tell writes a word of the control part and wakes who waits for it.
func (s *share) tell(off int, value uint32) {
	word := sys.Word(s.ctl, off)
	atomic.StoreUint32(word, value)
	sys.FutexWake(word)
}

// hint reads a word of the bell, which may be anything.
func (s *share) hint(off int) uint32 { return atomic.LoadUint32(sys.Word(s.bell, off)) }

// calling reads from the bell, which may be anything, the last call into a plugin of the thread with that status.
func (s *share) calling(index int, st *abi.Status) {
	var call abi.Call
	call.Get(s.bell[abi.BellCallAt(index):])
	st.Hook, st.Plugin, st.Fn = call.Hook, call.Plugin, call.Fn
}

// status reads a thread's status from the shared memory: whatever the thread, or what controls it, has written there.
// The state comes first: what it announces was written before it.
func (s *share) status(index int) (st abi.Status) {
	off := abi.SharedStatusAt(index)
	state := atomic.LoadUint32(sys.Word(s.shared, off+abi.StatusStateOff))
	st.Get(s.shared[off:])
	st.State = state
	return st
}

// ownReport is what a task that has left the shared memory reports in memory of its own.
type ownReport struct {
	pid    sys.PID
	region *plan.Region
	log    logReader
	head   uint64 // of the log, when it was read last
	after  uint64 // of the shared log: what must have been passed on before this one, which continues it
}

func newOwnReport(pid sys.PID, region *plan.Region, sharedLog uint64) *ownReport {
	return &ownReport{pid: pid, region: region, log: logReader{ring: &ownRing{pid, region}}, after: sharedLog}
}

// read gives the statuses from index on, and how far the log has been written.
func (o *ownReport) read(index, count int) (all []abi.Status, logHead uint64, err error) {
	var head [8]byte
	b := make([]byte, count*abi.StatusSize)
	err = sys.ReadProcess(o.pid, sys.Span{Addr: o.region.Shared + abi.SharedLogHeadOff, Data: head[:]},
		sys.Span{Addr: o.region.Shared + uint64(abi.SharedStatusAt(index)), Data: b})
	if err != nil {
		return nil, 0, err
	}
	for i := range count {
		var st abi.Status
		st.Get(b[i*abi.StatusSize:])
		if st.State == abi.StateLeft { // the shared memory, in the moment before the exchange
			st.State = abi.StateRunning
		}
		all = append(all, st)
	}
	return all, binary.LittleEndian.Uint64(head[:]), nil
}

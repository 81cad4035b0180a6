package graft

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/refusal"
)

// Images of a program that reserves much address space stand alone: CRIU could not restore incremental ones.
func TestReservedAddressSpace(t *testing.T) {
	const start = 0x10000000000
	for _, c := range []struct {
		size        uint64
		flags, prot uint32
		incremental bool
	}{
		{1 << 30, uapi.MapPrivate | uapi.MapAnonymous, 0, true},
		{1<<30 + pageSize, uapi.MapPrivate | uapi.MapAnonymous, 0, false},
		{8 << 40, uapi.MapPrivate | uapi.MapAnonymous, uapi.ProtRead, false},
		{8 << 40, uapi.MapPrivate | uapi.MapAnonymous | uapi.MapNoreserve, 0, true},
		{8 << 30, uapi.MapPrivate | uapi.MapAnonymous, uapi.ProtRead | uapi.ProtWrite, true},
		{8 << 30, uapi.MapShared | uapi.MapAnonymous, 0, true},
	} {
		dir := open(t, sample(t, "static"))
		mm := dir.Tasks[0].Mm
		mm.Vmas = append(mm.Vmas, &pb.VmaEntry{Start: pb.Uint64(start), End: pb.Uint64(start + c.size),
			Pgoff: pb.Uint64(0), Shmid: pb.Uint64(0), Fd: pb.Int64(-1),
			Flags: pb.Uint32(c.flags), Prot: pb.Uint32(c.prot), Status: pb.Uint32(images.VmaRegular)})
		plan, err := New(dir, options(t))
		if err != nil {
			t.Fatal(err)
		}
		if plan.Parent != c.incremental || len(plan.Notes) > 0 == c.incremental ||
			plan.Provenance.Mode == incremental != c.incremental {
			t.Errorf("%+v: parent %v, mode %s, notes %q", c, plan.Parent, plan.Provenance.Mode, plan.Notes)
		}
	}
}

// A limit of processes that the watchdog would meet is seen when grafting.
func TestLimitOfProcesses(t *testing.T) {
	for _, c := range []struct {
		limit     uint64
		uid, caps uint32
		timeout   time.Duration
		refused   bool
	}{
		{0, 1000, 0, time.Second, true},
		{1, 1000, 0, time.Second, true}, // its one thread
		{2, 1000, 0, time.Second, false},
		{0, 1000, 0, 0, false},
		{0, 0, 0, time.Second, false},
		{0, 1000, 1 << 24, time.Second, false},
		{0, 1000, 1 << 21, time.Second, false},
		{0, 1000, 1 << 20, time.Second, true},
	} {
		dir := open(t, sample(t, "static"))
		task := dir.Tasks[0]
		limits := &pb.TaskRlimitsEntry{}
		for i := range uint64(16) {
			cur := ^uint64(0)
			if i == uapi.RlimitNproc {
				cur = c.limit
			}
			limits.Rlimits = append(limits.Rlimits,
				&pb.RlimitEntry{Cur: pb.Uint64(cur), Max: pb.Uint64(cur)})
		}
		task.Core.Tc.Rlimits = limits
		creds := task.Threads[0].Core.ThreadCore.Creds
		creds.Uid, creds.CapEff = pb.Uint32(c.uid), []uint32{c.caps, 0}
		opts := options(t)
		opts.HookTimeout = c.timeout
		_, err := New(dir, opts)
		var refused *refusal.Refusal
		if errors.As(err, &refused) != c.refused ||
			c.refused && !strings.Contains(err.Error(), "RLIMIT_NPROC is") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

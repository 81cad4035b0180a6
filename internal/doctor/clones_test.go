//go:build linux && amd64

package doctor

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/uapi"
)

// inNamespaces is a dump with a connection over the loopback device, shared memory and two locks, whose tasks have
// namespaces of their own or those that criu had.
func inNamespaces(own uint32) *images.Dir {
	ids := func(n uint32) *pb.TaskKobjIdsEntry {
		return &pb.TaskKobjIdsEntry{PidNsId: &n, NetNsId: &n, IpcNsId: &n, MntNsId: &n}
	}
	segment := &pb.VmaEntry{Start: pb.Uint64(1 << 20), Status: pb.Uint32(images.VmaSysvIPC)}
	connected := &pb.InetSkEntry{Family: pb.Uint32(uapi.AfInet), Proto: pb.Uint32(uapi.IpprotoTCP),
		State: pb.Uint32(uapi.TcpEstablished), SrcPort: pb.Uint32(80), SrcAddr: []uint32{0x0100007f}}
	lock := func(kind uint32) *pb.FileLockEntry {
		return &pb.FileLockEntry{Type: &kind, Pid: pb.Int32(7), Fd: pb.Int32(3)}
	}
	task := &images.Task{Pid: 7, Ids: ids(own), Core: &pb.CoreEntry{}, Pagemap: &images.Pagemap{},
		Mm:  &pb.MmEntry{Vmas: []*pb.VmaEntry{segment}},
		Fds: []*pb.FdinfoEntry{{Id: pb.Uint32(1), Fd: pb.Uint32(3)}}}
	return &images.Dir{
		Inventory: &pb.InventoryEntry{RootIds: ids(1)}, Tasks: []*images.Task{task},
		Files: map[uint32]*pb.FileEntry{1: {Isk: connected}},
		Locks: []*pb.FileLockEntry{lock(uapi.FRdlck), lock(uapi.FWrlck)},
	}
}

// What namespaces of the tasks' own hold is each clone's; a lock for reading can be had by all.
func TestClonesInNamespaces(t *testing.T) {
	for own, want := range map[uint32][]string{
		1: {"pids problem", "connection problem", "mapping problem", "lock problem", "addresses note"},
		2: {"pids ok", "connection ok", "lock problem", "addresses note"},
	} {
		var got []string
		for _, f := range Clones(inNamespaces(own), nil) {
			got = append(got, f.Check+" "+string(f.Verdict))
		}
		if !slices.Equal(got, want) {
			t.Errorf("namespaces %d: %q", own, got)
		}
	}
}

// Names are told once each.
func TestIdentities(t *testing.T) {
	var b strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&b, "N%d_ID=x\x00HOSTNAME=x\x00PATH=x\x00", i)
	}
	if got := identities([]byte(b.String())); len(got) != 100_001 || got[0] != "N0_ID" || got[1] != "HOSTNAME" {
		t.Error(len(got), got[:2])
	}
}

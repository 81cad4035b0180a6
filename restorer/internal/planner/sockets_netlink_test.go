package planner

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/host"
	"github.com/crpie/crpie/restorer/internal/host/hosttest"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// withLinks is a sample whose descriptors 0 and 1 are a netlink socket that is connected to the kernel and a packet
// socket.
func withLinks(t *testing.T) (dir *images.Dir, n *pb.NetlinkSkEntry, p *pb.PacketSockEntry) {
	t.Helper()
	dir = openSample(t, sampleFS(t, "static"))
	n = &pb.NetlinkSkEntry{
		Id: pb.Uint32(1000), Portid: pb.Uint32(7), State: pb.Uint32(uapi.NetlinkConnected), Groups: []uint32{5},
		Opts: &pb.SkOptsEntry{}, Fown: &pb.FownEntry{},
	}
	p = &pb.PacketSockEntry{
		Id: pb.Uint32(1001), Type: pb.Uint32(uapi.SockRaw), Protocol: pb.Uint32(0xb588), Ifindex: pb.Uint32(3),
		Mclist: []*pb.PacketMclist{{Index: pb.Uint32(3), Type: pb.Uint32(0), Addr: []byte{1, 2, 3, 4, 5, 6}}},
		Opts:   &pb.SkOptsEntry{}, Fown: &pb.FownEntry{},
	}
	dir.Files[1000] = &pb.FileEntry{Id: n.Id, Type: pb.FdTypes_NETLINKSK.Enum(), Nlsk: n}
	dir.Files[1001] = &pb.FileEntry{Id: p.Id, Type: pb.FdTypes_PACKETSK.Enum(), Psk: p}
	dir.Tasks[0].Fds = nil
	for i, id := range []*uint32{n.Id, p.Id} {
		dir.Tasks[0].Fds = append(dir.Tasks[0].Fds, &pb.FdinfoEntry{
			Id: id, Fd: pb.Uint32(uint32(i)), Type: dir.Files[*id].Type, Flags: pb.Uint32(0),
		})
	}
	return dir, n, p
}

func TestLinkSocketRefusals(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(n *pb.NetlinkSkEntry, p *pb.PacketSockEntry, host *host.Host)
		want   string
	}{
		"groups": {func(n *pb.NetlinkSkEntry, _ *pb.PacketSockEntry, _ *host.Host) {
			n.Groups = []uint32{0, 1}
		}, "fd 0: netlink socket, protocol 0, port 7 has groups above 32 or no port: not supported"},
		"groups without a port": {func(n *pb.NetlinkSkEntry, _ *pb.PacketSockEntry, _ *host.Host) {
			n.Portid = nil
		}, "fd 0: netlink socket, protocol 0 has groups above 32 or no port: not supported"},
		"peer": {func(n *pb.NetlinkSkEntry, _ *pb.PacketSockEntry, _ *host.Host) {
			n.DstGroup = pb.Uint32(33)
		}, "fd 0: netlink socket, protocol 0, port 7 is connected to group 33, above 32: not supported"},
		"port": {func(_ *pb.NetlinkSkEntry, _ *pb.PacketSockEntry, host *host.Host) {
			host.NetlinkPort = func(protocol, port uint32) bool { return protocol == 0 && port == 7 }
		}, "fd 0: netlink socket, protocol 0, port 7: the port is in use\n  hint: end the process that has it"},
		"type": {func(_ *pb.NetlinkSkEntry, p *pb.PacketSockEntry, _ *host.Host) {
			p.Type = pb.Uint32(uapi.SockStream)
		}, "fd 1: packet socket of type 1: not supported"},
		"interface": {func(_ *pb.NetlinkSkEntry, p *pb.PacketSockEntry, host *host.Host) {
			host.InterfaceName = func(uint32) string { return "" }
			p.Mclist = nil
		}, "fd 1: packet socket, protocol 0x88b5 is bound to interface 3: this host has none of that number\n  hint: make the interface again"},
		"membership": {func(_ *pb.NetlinkSkEntry, p *pb.PacketSockEntry, host *host.Host) {
			host.InterfaceName = func(uint32) string { return "" }
			p.Ifindex = nil
		}, "fd 1: packet socket, protocol 0x88b5 has a membership of interface 3: this host has none of that number"},
		"long membership": {func(_ *pb.NetlinkSkEntry, p *pb.PacketSockEntry, _ *host.Host) {
			p.Mclist[0].Addr = make([]byte, 33)
		}, "fd 1: packet socket, protocol 0x88b5 has a membership of 33 bytes, more than 32"},
		"capability": {func(_ *pb.NetlinkSkEntry, _ *pb.PacketSockEntry, host *host.Host) {
			host.Caps &^= 1 << uapi.CapNetRaw
		}, "fd 1: packet socket, protocol 0x88b5: crpie lacks CAP_NET_RAW\n  hint: run crpie as root"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, n, p := withLinks(t)
			host := hosttest.New(dir)
			if _, err := buildSample(t, dir, host, &job.Options{}); err != nil {
				t.Fatal(err)
			}
			tc.change(n, p, host)
			_, err := buildSample(t, dir, host, &job.Options{})
			wantRefusal(t, err, tc.want)
		})
	}
}

// The kernel as a peer has no groups; a group is a bit of the address.
func TestNetlinkAddresses(t *testing.T) {
	for group, want := range map[uint32][]uint32{0: {7, 5, 0, 0}, 1: {7, 5, 0, 1}, 32: {7, 5, 0, 1 << 31}} {
		dir, n, _ := withLinks(t)
		n.DstGroup = &group
		plan, err := buildSample(t, dir, hosttest.New(dir), &job.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var got []uint32
		for _, op := range plan.Tasks[0].Threads[0].Ops {
			if (op.Nr == uapi.SysBind || op.Nr == uapi.SysConnect) && op.Args[0] == 0 {
				b := plan.Arena.At(op.Args[1])
				got = append(got, binary.LittleEndian.Uint32(b[4:]), binary.LittleEndian.Uint32(b[8:]))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("group %d: %v, want %v", group, got, want)
		}
	}
}

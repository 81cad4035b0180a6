//go:build linux && faults

package net

import (
	"errors"
	stdnet "net"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/testenv"
)

// Every call with which a namespace is made fails in turn: the error is told, and nothing is left on the host.
func TestEveryCallFails(t *testing.T) {
	testenv.NeedRoot(t)
	testenv.NeedTool(t, "nft")
	outside, tun := veth(2, "eth0", 9, 9), device(pb.NdType_TUN, 3, "tun0")
	outside.PeerNsid = nil
	tun.Tun = &pb.TunLinkEntry{Flags: pb.Uint32(0x1801), Owner: pb.Int32(1), Group: pb.Int32(1),
		Vnethdr: pb.Uint32(10),
		Sndbuf:  pb.Uint32(1 << 20)}
	d := &dumped{
		netns: &pb.NetnsEntry{UnixConf: []*pb.SysctlEntry{{Type: pb.SysctlType_CTL_32.Enum(),
			Iarg: pb.Int32(99)}}},
		links: []*pb.NetDeviceEntry{device(pb.NdType_LOOPBACK, 1, "lo"), outside, tun},
		files: map[string][]byte{"ifaddr-9.img": saved(magicAddresses, anAddress(t, 2)),
			"nftables-9.img": []byte("table inet t {\n}\n")},
	}
	o := &Options{External: map[string]string{"veth[eth0]": "crpie-vh@crpie-br"}}
	must(t, exec.Command("ip", "link", "add", "name", "crpie-br", "type", "bridge").Run())
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", "crpie-br").Run() })
	for n := 0; ; n++ {
		p, problems := d.planned(t, o)
		if problems != "" {
			t.Fatal(problems)
		}
		failed, err := enterFailing(t, p, n)
		if failed == "" {
			if err != nil || n < 20 {
				t.Fatalf("after %d faults none, and yet: %v", n, err)
			}
			if _, err := stdnet.InterfaceByName("crpie-vh"); err != nil {
				t.Fatal(err)
			}
			must(t, p.Close())
		} else if !errors.Is(err, unix.EIO) {
			t.Errorf("call %d, %s: error %v, want EIO", n, failed, err)
		}
		if _, err := stdnet.InterfaceByName("crpie-vh"); err == nil {
			t.Fatalf("call %d, %s: the other end of eth0 is left on the host", n, failed)
		}
		if failed == "" {
			return
		}
	}
}

// enterFailing enters a namespace on a thread of its own, and has the nth call fail.
func enterFailing(t *testing.T, p *Plan, n int) (failed string, err error) {
	t.Helper()
	aside, err := sys.NewAside()
	must(t, err)
	defer aside.End()
	calls := 0
	defer sys.Faults(func(call string) error {
		if calls++; calls-1 == n {
			failed = call
			return unix.EIO
		}
		return nil
	})()
	err = aside.Do(func() error {
		_, errs := p.Enter()
		return errors.Join(errs...)
	})
	if err != nil {
		err = errors.Join(err, p.Close())
	}
	return failed, err
}

package net

import (
	"bytes"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/mdlayher/netlink"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/refuse"
	"github.com/crpie/crpie/internal/uapi"
)

// dumped are the images of one namespace, number 9.
type dumped struct {
	netns *pb.NetnsEntry
	links []*pb.NetDeviceEntry
	files map[string][]byte // others
}

func (d *dumped) dir(t testing.TB) *images.Dir {
	t.Helper()
	fsys := fstest.MapFS{}
	put := func(name string, data []byte) { fsys[name] = &fstest.MapFile{Data: data} }
	var b bytes.Buffer
	if d.netns != nil {
		must(t, images.WriteImage(&b, "netns-9.img", "NETNS", d.netns))
		put("netns-9.img", bytes.Clone(b.Bytes()))
	}
	if b.Reset(); d.links != nil {
		must(t, images.WriteImage(&b, "netdev-9.img", "NETDEV", d.links...))
		put("netdev-9.img", b.Bytes())
	}
	for name, data := range d.files {
		put(name, data)
	}
	return &images.Dir{FS: fsys, Other: slices.Sorted(maps.Keys(fsys))}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// planned plans a dump; problems are what is refused.
func (d *dumped) planned(t testing.TB, o *Options) (p *Plan, problems string) {
	t.Helper()
	var c refuse.Collector
	if o == nil {
		o = &Options{}
	}
	p = New(&c, d.dir(t), 9, o)
	if err := c.Err(); err != nil {
		return p, err.Error()
	}
	return p, ""
}

func device(kind pb.NdType, index uint32, name string) *pb.NetDeviceEntry {
	return &pb.NetDeviceEntry{Type: kind.Enum(), Ifindex: &index, Mtu: pb.Uint32(1500), Flags: pb.Uint32(iffUp),
		Name: &name, PeerIfindex: &index, PeerNsid: pb.Uint32(9)}
}

func veth(index uint32, name string, peer, namespace uint32) *pb.NetDeviceEntry {
	d := device(pb.NdType_VETH, index, name)
	d.PeerIfindex, d.PeerNsid = &peer, &namespace
	return d
}

func (d *dumped) with(name string, data []byte) *dumped {
	d.files = map[string][]byte{name: data}
	return d
}

func saved(magic uint32, messages ...[]byte) []byte {
	b := []byte{byte(magic), byte(magic >> 8), byte(magic >> 16), byte(magic >> 24)}
	return append(b, bytes.Join(messages, nil)...)
}

// message is one netlink message as ip(8) saves it.
func message(t testing.TB, kind uint16, head []byte, attrs func(a *netlink.AttributeEncoder)) []byte {
	t.Helper()
	m := ask(kind, 0, head, attrs)
	m.Header.Length = uint32(16 + len(m.Data))
	b, err := m.MarshalBinary()
	must(t, err)
	return b
}

// Whatever cannot be made again is refused by name, before anything is touched.
func TestRefusals(t *testing.T) {
	lo := device(pb.NdType_LOOPBACK, 1, "lo")
	ofPort := device(pb.NdType_TUN, 3, "tun0")
	ofPort.Master, ofPort.Tun = pb.Uint32(7), &pb.TunLinkEntry{Flags: pb.Uint32(1), Owner: pb.Int32(-1),
		Group: pb.Int32(-1), Vnethdr: pb.Uint32(10), Sndbuf: pb.Uint32(0)}
	elsewhere := veth(2, "eth0", 5, 9)
	elsewhere.PeerNsid = nil
	onHost := device(pb.NdType_MACVLAN, 4, "mv0")
	onHost.Macvlan, onHost.PeerNsid = &pb.MacvlanLinkEntry{Mode: pb.Uint32(4)}, nil
	wideTun, wide := device(pb.NdType_TUN, 3, "tun1"), device(pb.NdType_MACVLAN, 4, "mv1")
	wideTun.Tun = &pb.TunLinkEntry{Flags: pb.Uint32(1<<16 | 1), Owner: pb.Int32(-1), Group: pb.Int32(-1),
		Vnethdr: pb.Uint32(10), Sndbuf: pb.Uint32(0)}
	wide.Macvlan = &pb.MacvlanLinkEntry{Mode: pb.Uint32(4), Flags: pb.Uint32(1 << 16)}
	onLink := &Options{External: map[string]string{"macvlan[mv1]": "eth0"}}
	number := &pb.SysctlEntry{Type: pb.SysctlType_CTL_32.Enum(), Iarg: pb.Int32(1)}
	for name, tc := range map[string]struct {
		d    *dumped
		o    *Options
		want string
	}{
		"sit": {&dumped{links: []*pb.NetDeviceEntry{lo, device(pb.NdType_SIT, 2, "sit1")}}, nil,
			"link sit1: a link of kind sit: not supported"},
		"external": {&dumped{links: []*pb.NetDeviceEntry{device(pb.NdType_EXTLINK, 2, "e")}}, nil,
			"link e: a link of kind external: not supported"},
		"unknown": {&dumped{links: []*pb.NetDeviceEntry{device(77, 2, "e")}}, nil,
			"link e: a link of kind 77: not supported"},
		"port": {&dumped{links: []*pb.NetDeviceEntry{ofPort}}, nil,
			"link tun0: it is a port of link 7, which is not a bridge"},
		"peer": {&dumped{links: []*pb.NetDeviceEntry{elsewhere}}, nil, "--veth-pair eth0=NAME[@BRIDGE]"},
		"peer's name": {&dumped{links: []*pb.NetDeviceEntry{elsewhere}}, &Options{External: map[string]string{
			"veth[eth0]": "a/b"}}, `link eth0: "a/b" is to be its other end: want NAME or NAME@BRIDGE`},
		"twin": {&dumped{links: []*pb.NetDeviceEntry{veth(2, "a", 3, 9), veth(3, "b", 4, 9)}}, nil,
			"link a: link 3 is its other end, which does not know it"},
		"namespace": {&dumped{links: []*pb.NetDeviceEntry{veth(2, "a", 3, 10)}}, nil,
			"network namespace 10 of the images: more than one"},
		"macvlan":     {&dumped{links: []*pb.NetDeviceEntry{onHost}}, nil, "--external macvlan[mv0]:NAME"},
		"tun's flags": {&dumped{links: []*pb.NetDeviceEntry{wideTun}}, nil, "link tun1: a tun of flags 0x10001: "},
		"macvlan's flags": {&dumped{links: []*pb.NetDeviceEntry{wide}}, onLink,
			"link mv1: a macvlan of flags 0x10000: "},
		"name": {&dumped{links: []*pb.NetDeviceEntry{device(pb.NdType_BRIDGE, 2, "../x")}}, nil,
			`a link of the name "../x"`},
		"twice": {&dumped{links: []*pb.NetDeviceEntry{lo, lo}}, nil,
			"link lo has number 1: the images contradict themselves"},
		"external namespace": {&dumped{netns: &pb.NetnsEntry{ExtKey: pb.String("k")}}, nil,
			`the network namespace was dumped as external, "k", and none is given`},
		"other numbers": {&dumped{netns: &pb.NetnsEntry{Nsids: []*pb.NetnsId{{TargetNsId: pb.Uint32(8),
			NetnsidValue: pb.Int32(0)}}}}, nil,
			"it knows network namespace 8 of the images: more than one is not supported"},
		"too many settings": {&dumped{netns: &pb.NetnsEntry{UnixConf: []*pb.SysctlEntry{number, number}}}, nil,
			"2 settings of /proc/sys/net/unix, of which only the first 1 are known"},
		"old settings": {&dumped{netns: &pb.NetnsEntry{DefConf: []int32{1}}}, nil, "the form of an older CRIU"},
		"setting": {&dumped{netns: &pb.NetnsEntry{Ipv4Sysctl: []*pb.SysctlEntry{{Type: pb.SysctlType_CTL_STR.Enum(),
			Sarg: pb.String("1\x1b")}}}}, nil, `ping_group_range has the value "1\x1b"`},
		"magic": {(&dumped{}).with("rule-9.img", []byte("rule")), nil,
			"rule-9.img: it begins with 0x656c7572, want 0x71706986"},
		"cut": {(&dumped{}).with("route-9.img", saved(magicRoutes, []byte{9})), nil,
			"route-9.img: message 0 has 1 bytes, fewer than its head"},
		"length": {(&dumped{}).with("route-9.img", saved(magicRoutes, bytes.Repeat([]byte{0xff}, 20))), nil,
			"message 0 says that it has 4294967295 bytes, of 20"},
		"kind": {(&dumped{}).with("route-9.img",
			saved(magicRoutes, message(t, rtmNewaddr, make([]byte, 12),
				nil))), nil, "message 0 is of type 20, want 24"},
		"no link": {(&dumped{}).with("ifaddr-9.img", saved(magicAddresses, anAddress(t, 5))), nil,
			"10.0.0.1/24 is the address of link 5, which is none of netdev-9.img"},
		"nft": {(&dumped{}).with("nftables-9.img",
			[]byte("table ip t {\n\tchain c {\n\t\tinclude \"/etc/shadow\"\n\t}\n}\n")), nil, "it has the word include, which nft list ruleset never writes"},
		"nft flush": {(&dumped{}).with("nftables-9.img", []byte("flush ruleset\n")), nil,
			"it has the word flush"},
		"nft compat": {(&dumped{}).with("nftables-9.img",
			[]byte("table ip t {\n\tchain c {\n\t\txt match \"time\" drop\n\t}\n}\n")), nil,
			`it has a rule of iptables that nft shows, but cannot read: xt match "time"`},
		"iptables": {(&dumped{}).with("iptables-9.img",
			[]byte("*filter\n-A INPUT --modp=/tmp/x -j DROP\nCOMMIT\n")), nil, "it has the word --modp=/tmp/x, which iptables-save never writes"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, got := tc.d.planned(t, tc.o); !strings.Contains(got, tc.want) {
				t.Errorf("refused %q, want %q", got, tc.want)
			}
		})
	}
}

func anAddress(t testing.TB, index uint32) []byte {
	return message(t, rtmNewaddr, []byte{uapi.AfInet, 24, 0x80, 0, byte(index), 0, 0, 0},
		func(a *netlink.AttributeEncoder) {
			a.Bytes(ifaLocal, []byte{10, 0, 0, 1})
			a.Bytes(ifaAddress, []byte{10, 0, 0, 1})
		})
}

// The order: links that others lie on first, settings before a link is up, addresses before routes.
func TestSteps(t *testing.T) {
	bridge, port, other := device(pb.NdType_BRIDGE, 5, "br0"), veth(4, "v1", 3, 9), veth(3, "v2", 4, 9)
	port.Master = pb.Uint32(5)
	over := device(pb.NdType_MACVLAN, 2, "mv0")
	over.Macvlan, over.PeerIfindex = &pb.MacvlanLinkEntry{Mode: pb.Uint32(4)}, pb.Uint32(5)
	over.Conf6 = []*pb.SysctlEntry{{Type: pb.SysctlType_CTL_32.Enum(), Iarg: pb.Int32(1)}}
	outside := veth(7, "eth0", 9, 9)
	outside.PeerNsid, outside.Address = nil, []byte{2, 0, 0, 0, 0, 7}
	d := &dumped{netns: &pb.NetnsEntry{}, links: []*pb.NetDeviceEntry{over, other, port, bridge, outside,
		device(pb.NdType_LOOPBACK, 1, "lo")}}
	p, problems := d.with("ifaddr-9.img", saved(magicAddresses, anAddress(t, 5))).planned(t,
		&Options{External: map[string]string{"veth[eth0]": "vh@brh"}})
	want := `network namespace: make one
link 1: loopback lo
link 3: veth v2, its other end: v1
link 5: bridge br0
link 7: veth eth0 02:00:00:00:00:07, its other end on the host: vh, a port of the host's bridge brh
link 2: macvlan mv0
sysctl net/ipv6/conf/mv0/accept_dad = 0
link v1 is a port of br0
link lo is up
link v2 is up
link v1 is up
link br0 is up
link eth0 is up
link mv0 is up
addresses: br0 10.0.0.1/24
0 routes
sysctl net/ipv6/conf/mv0/accept_dad = 1`
	if got := strings.Join(p.Describe(), "\n"); problems != "" || got != want {
		t.Errorf("%s\n%s", problems, got)
	}
	if got := strings.Join(p.Images(), " "); got != "netns-9.img netdev-9.img ifaddr-9.img" {
		t.Errorf("looked into %s", got)
	}
}

// A namespace that is given is entered, and nothing of the images is done to it.
func TestGiven(t *testing.T) {
	open := func() (*os.File, error) { return nil, nil }
	external := &dumped{netns: &pb.NetnsEntry{ExtKey: pb.String("k")}}
	own := (&dumped{netns: &pb.NetnsEntry{}}).with("nftables-9.img", []byte("table ip t {\n}\n"))
	for name, tc := range map[string]struct {
		d           *dumped
		o           *Options
		want, takes string
	}{
		"descriptor": {external, &Options{Inherit: map[string]func() (*os.File, error){"k": open}},
			`network namespace: enter the descriptor for "k"`, "k"},
		"path": {external, &Options{External: map[string]string{"net[k]": "/run/netns/a"}},
			"network namespace: enter /run/netns/a", "net[k]"},
		"join":  {own, &Options{Join: "12"}, "network namespace: enter /proc/12/ns/net", ""},
		"empty": {own, &Options{Empty: true}, "network namespace: make one", ""},
	} {
		t.Run(name, func(t *testing.T) {
			p, problems := tc.d.planned(t, tc.o)
			if got := strings.Join(p.Describe(), "\n"); got != tc.want || problems != "" ||
				strings.Join(p.Takes(), " ") != tc.takes {
				t.Errorf("%s %q takes %q", problems, got, p.Takes())
			}
			if len(p.Images()) != len(tc.d.dir(t).Other) {
				t.Errorf("images %v", p.Images())
			}
		})
	}
}

// The lock of the dump is no part of the rules; what looks like a part of it and was there before stays.
func TestWithoutLock(t *testing.T) {
	const input = "\tchain INPUT {\n\t\ttype filter hook input priority filter; policy accept;\n"
	const output = "\tchain OUTPUT {\n\t\ttype filter hook output priority filter; policy accept;\n"
	const chain = "\tchain CRIU {\n\t\tmeta mark 0x0000c114 counter packets 0 bytes 0 accept\n\t\tcounter packets 1 bytes 76 drop\n\t}\n"
	const jump = "\t\tcounter packets 0 bytes 0 jump CRIU\n"
	const mine = "\t\ttcp dport 999 counter packets 0 bytes 0 drop\n"
	for name, tc := range map[string]struct{ text, want string }{
		"all is the lock's": {"table ip filter {\n" + chain + "\n" + input + jump + "\t}\n\n" +
			output + jump + "\t}\n}\n", ""},
		"a rule was there": {"table ip filter {\n" + input + jump + mine + "\t}\n\n" + chain + "\n" +
			output + jump + "\t}\n}\n", "table ip filter {\n" + input + mine + "\t}\n}\n"},
		"chains were there": {"table ip6 filter {\n" + input + jump + "\t}\n\n" + output + jump + "\t}\n\n" +
			chain + "}\n", "table ip6 filter {\n" + input + "\t}\n\n" + output + "\t}\n}\n"},
		"no lock": {"table ip filter {\n" + input + "\t}\n}\n",
			"table ip filter {\n" + input + "\t}\n}\n"},
		"a table": {"table inet CRIU-17d786a7-5abe-47d7-8a {\n" + output +
			"\t}\n}\ntable inet t {\n}\n", "table inet t {\n}\n"},
		"another's name":     {"table inet CRIU-my {\n}\n", "table inet CRIU-my {\n}\n"},
		"another family":     {"table arp filter {\n" + chain + "}\n", "table arp filter {\n" + chain + "}\n"},
		"a table cut short":  {"table ip filter {", "table ip filter {\n"},
		"nothing":            {"", ""},
		"an empty table":     {"table ip filter {\n}\n", "table ip filter {\n\n}\n"},
		"a chain, cut short": {"table ip filter {\n\tchain CRIU {\n}\n", ""},
	} {
		if got := withoutLockNft(tc.text); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
	text := "*filter\n:INPUT ACCEPT [0:0]\n:CRIU - [0:0]\n-A INPUT -j CRIU\n-A INPUT -j DROP\n[1:2] -A CRIU -j DROP\nCOMMIT\n"
	if got := withoutLockIptables(text); got != "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -j DROP\nCOMMIT\n" {
		t.Errorf("iptables: %q", got)
	}
}

// Counters are numbers, of one digit or more, and nothing may stand around the text.
func TestLike(t *testing.T) {
	for _, text := range []string{"[1:2]", "[0:9876543210]"} {
		if !like(text, "[#:#]") {
			t.Errorf("%s is not like it", text)
		}
	}
	for _, text := range []string{"", "[:]", "[1:]", "[:2]", "[1:2", "1:2]", "[1:2] ", " [1:2]", "[1:2:3]",
		"[-1:2]", "[1:x]"} {
		if like(text, "[#:#]") {
			t.Errorf("%q is like it", text)
		}
	}
}

// Texts go to programs of root's that have the host's files: words that make them read or execute others are refused.
func TestForbiddenWords(t *testing.T) {
	for text, want := range map[string]string{
		"table ip t {\n\tset s {\n\t\ttype ipv4_addr\n\t\telements = { 1.2.3.4,\n\t\t\t     5.6.7.8 }\n\t}\n}\n": "",
		"table ip t {\n\tchain c {\n\t\ttcp dport 1 comment \"; include x\"\n\t}\n}\n":                           "",
		"table ip t {\n\tchain c { include \"x\"; }\n}\n":                                                        "include",
		"table ip t {\n}\n  include \"x\"\n":                                                                     "include",
		"table ip t {\n}\n\tdefine a = 1\n":                                                                      "define",
		"table ip t { } ; redefine a = 1":                                                                        "redefine",
		"# include\ntable ip t {\n}\n":                                                                           "",
		"delete table ip t":                                                                                      "delete",
		"add table ip t":                                                                                         "add",
		"}\ninclude \"x\"":                                                                                       "include",
	} {
		if got := forbiddenNft(text); got != want {
			t.Errorf("nft %q: %q, want %q", text, got, want)
		}
	}
	for line, want := range map[string]string{
		"-A INPUT -m comment --comment \"it's\" -j MASQUERADE": "", "-A x -m mark --mark 0x1 -j MARK": "",
		"-A x -M /x": "-M", "-A x --modprobe=/x": "--modprobe=/x", "-A x \"--mod\" /x": "--mod",
		"-A x -vM/x":             "-vM/x",
		"-A x --mo\"d\"probe /x": "--modprobe", "-A x '-M' /x": "-M", "-A x --mask 5 --mode y": "",
	} {
		if got := forbiddenIptables(line); got != want {
			t.Errorf("iptables %q: %q, want %q", line, got, want)
		}
	}
}

// Flags that the kernel shows of a route, and refuses to be told, are not told; its hops have them, too.
func TestCleanRoute(t *testing.T) {
	hop := []byte{8, 0, rtnhDead | rtnhLinkdown | 4, 0, 1, 0, 0, 0}
	head := make([]byte, sizeRtmsg)
	head[8] = rtnhLinkdown | 4
	m := ask(rtmNewroute, 0, head, func(a *netlink.AttributeEncoder) {
		a.Bytes(rtaMultipath, slices.Concat(hop, hop))
	})
	cleanRoute(m.Data)
	if m.Data[8] != 4 || m.Data[16+2] != 4 || m.Data[16+8+2] != 4 {
		t.Errorf("%x", m.Data)
	}
	for n := range len(m.Data) - sizeRtmsg {
		cleanRoute(bytes.Clone(m.Data[:sizeRtmsg+n]))
	}
}

// Whatever the images are, planning ends without a panic, sets nothing but settings of networks, and leaves no step
// with an interface that the kernel would not name so.
func FuzzNew(f *testing.F) {
	d := &dumped{netns: &pb.NetnsEntry{},
		links: []*pb.NetDeviceEntry{device(pb.NdType_LOOPBACK, 1, "lo"), veth(2, "a", 3, 9),
			veth(3, "b", 2, 9)}}
	fsys := d.dir(f).FS.(fstest.MapFS)
	f.Add(fsys["netns-9.img"].Data, fsys["netdev-9.img"].Data, saved(magicAddresses, anAddress(f, 1)),
		saved(magicRoutes, message(f, rtmNewroute, make([]byte, sizeRtmsg), nil)),
		[]byte("table ip filter {\n}\n"))
	f.Fuzz(func(t *testing.T, netns, netdev, ifaddr, route, text []byte) {
		d := &dumped{files: map[string][]byte{"netns-9.img": netns, "netdev-9.img": netdev,
			"ifaddr-9.img": ifaddr,
			"route-9.img":  route, "route6-9.img": route, "rule-9.img": route, "nftables-9.img": text,
			"iptables-9.img": text,
			"netns-ct-9.img": route}}
		p, _ := d.planned(t, nil)
		for _, s := range p.steps {
			if s, ok := s.(sysctl); ok && (!strings.HasPrefix(s.path, "/proc/sys/net/") ||
				strings.Contains(s.path, "..")) {
				t.Errorf("%v", s)
			}
		}
		p.Describe()
	})
}

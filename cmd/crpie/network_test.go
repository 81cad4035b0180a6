//go:build linux && amd64

package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/crpie/crpie/internal/testenv"
)

// networkSetup fills a network namespace with everything that CRIU dumps of one. Its parent has the other end of va.
const networkSetup = `PATH=/usr/sbin:/sbin:$PATH
ip link set lo up
ip link add name va type veth peer name vb netns $PPID
ip addr add 10.9.0.2/24 dev va
ip addr add fd09::2/64 dev va nodad
ip link add name br0 type bridge
ip link set br0 up
ip addr add 10.10.0.1/24 brd + dev br0 label br0:1
ip link add name v1 type veth peer name v2
ip link set v1 master br0 up
ip link set v2 up mtu 1400
ip tuntap add dev tap0 mode tap
ip link set tap0 up
ip tuntap add dev tun0 mode tun user 1000 group 1001
ip link set va up
ip route add default via 10.9.0.1
ip route add 10.55.0.0/16 nexthop via 10.9.0.1 weight 2 nexthop via 10.10.0.7
ip route add blackhole 10.66.0.0/16
ip -6 route add fd55::/48 via fd09::1
ip rule add from 10.9.0.2 fwmark 0x5 table 77 prio 100
iptables -A INPUT -p tcp --dport 999 -j DROP
ip6tables -A INPUT -p tcp --dport 998 -j DROP
nft add table inet t1
nft add chain inet t1 c1 '{ type filter hook input priority 0; }'
nft add rule inet t1 c1 tcp dport 77 counter accept comment '"a } comment"'
nft add set inet t1 s1 '{ type ipv4_addr; elements = { 1.2.3.4, 5.6.7.8 } }'
sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.va.rp_filter=2 net.unix.max_dgram_qlen=33
sysctl -qw net.ipv6.conf.v2.accept_ra=0 net.ipv6.conf.default.hop_limit=77 net.ipv6.conf.va.mtu=1300
sysctl -qw net.ipv4.ping_group_range='5 7'
`

// startInNetwork starts a victim in a network namespace of its own, of which a script makes what it is to be.
func startInNetwork(t *testing.T, setup, name string, args ...string) *testenv.Process {
	t.Helper()
	testenv.NeedRoot(t)
	for _, tool := range []string{"unshare", "nsenter", "ip", "nft", "iptables"} {
		testenv.NeedTool(t, tool)
	}
	awaitNoLink(t, "vb") // of the last test
	script := "set -e\n" + setup + `exec "$@"`
	words := append([]string{"unshare", "-n", "sh", "-c", script, "sh"}, testenv.Victim(t, name)...)
	p := testenv.StartCommand(t, name, append(words, args...)...)
	p.Connected = true
	return p
}

// shell runs a command and gives its output.
func shell(t *testing.T, words ...string) string {
	t.Helper()
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", words, err, out)
	}
	return string(out)
}

// hostBridge makes a bridge in the test's own namespace, which links of others become ports of.
func hostBridge(t *testing.T, ports ...string) {
	t.Helper()
	shell(t, "ip", "link", "add", "name", "brp", "type", "bridge")
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", "brp").Run() })
	shell(t, "ip", "addr", "add", "10.9.0.1/24", "dev", "brp")
	shell(t, "ip", "addr", "add", "fd09::1/64", "dev", "brp", "nodad")
	shell(t, "ip", "link", "set", "brp", "up")
	for _, port := range ports {
		shell(t, "ip", "link", "set", port, "master", "brp", "up")
	}
}

// awaitNoLink waits until a link is gone: the kernel takes namespaces down in its own time.
func awaitNoLink(t *testing.T, name string) {
	t.Helper()
	await(t, "link "+name+" is gone", func() bool {
		_, err := net.InterfaceByName(name)
		return err != nil
	})
}

// passing is what changes by itself: timers, the number of a link in another namespace, the age of counters.
var passing = regexp.MustCompile(`(valid_lft|preferred_lft|\w+_timer) +[0-9.a-z]+ ?|@if\d+|packets \d+ bytes \d+`)

// lateSockets is a program with sockets that are bound to one interface: by its number, by an address of its link,
// and with a connection between such.
const lateSockets = `
import os, signal, socket, struct
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
number = socket.if_nametoindex("late0")
def v6(kind, port):
    s = socket.socket(socket.AF_INET6, kind)
    s.bind(("fe80::7", port, 0, number))
    return s
udp, server, client = v6(socket.SOCK_DGRAM, 7001), v6(socket.SOCK_STREAM, 7002), v6(socket.SOCK_STREAM, 0)
server.listen(1)
client.connect(("fe80::7", 7002, 0, number))
there = server.accept()[0]
packet = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x1234))
packet.bind(("late0", 0x1234))
packet.setsockopt(263, 1, struct.pack("iHH8s", number, 1, 0, b"")) # promiscuous, packet(7)
def state():
    every = [udp, server, client, there]
    return [s.getsockname() for s in every], client.getpeername(), packet.getsockname()[:2]
before = state()
print("READY", os.getpid(), flush=True)
signal.sigwait([signal.SIGUSR1])
after = state()
client.send(b"still there")
text = there.recv(100)
if (after, text, socket.if_nametoindex("late0")) == (before, b"still there", number):
    print("PASS")
else:
    print("DIFFERS", before, after, text)
    raise SystemExit(1)
`

// lateLink makes the interface. Its address is not known to be free at once where duplicates are looked for.
const lateLink = `ip link set lo up
ip link add late0 index 77 type bridge
ip addr add fe80::7/64 dev late0 nodad
ip link set late0 up
`

// Sockets that are bound to an interface by its number, or to an address of its link, wait until somebody has made it.
// If nobody makes it, it is named, and nothing is left.
func TestLateInterfaces(t *testing.T) {
	testenv.NeedTool(t, "python3")
	testenv.NeedTool(t, "nsenter")
	testenv.NeedTool(t, "ip")
	p := testenv.StartCommand(t, "late", "unshare", "-n", "sh", "-ec", lateLink+`exec python3 -c "$0"`,
		lateSockets)
	p.Connected = true
	im := p.Dump(t, "--tcp-established")
	words := []string{"restore", "-d", "-D", im.Dir, "--tcp-established", "--empty-ns", "net", "--pie-plugin",
		trace(t), "--action-script"}
	act := filepath.Join(t.TempDir(), "act")
	for _, make := range []string{"", "ip link add late0 index 78 type bridge"} {
		text := "#!/bin/sh\n[ $CRTOOLS_SCRIPT_ACTION = setup-namespaces ] || exit 0\n" +
			"exec nsenter -t $CRTOOLS_INIT_PID -n sh -ec '" + make + "'\n"
		must(t, os.WriteFile(act, []byte(text), 0o755))
		status, output := tool(t, im, append(words, act)...)
		const want = "restore: network interface 77, to which a packet socket is bound: " +
			"nobody has made it at setup-namespaces\n"
		named := strings.Contains(output, "network interface late0, to which a socket is bound")
		if status != exitFailed || !strings.Contains(output, want) || named == (make != "") ||
			len(im.Leftovers()) > 0 {
			t.Errorf("%q: status %d, left %v, want %s\n%s", make, status, im.Leftovers(), want, output)
		}
	}
	for _, dad := range []string{" nodad", ""} {
		text := "#!/bin/sh\n[ $CRTOOLS_SCRIPT_ACTION = setup-namespaces ] || exit 0\n" +
			"exec nsenter -t $CRTOOLS_INIT_PID -n sh -ec '" + strings.Replace(lateLink, " nodad", dad, 1) + "'\n"
		must(t, os.WriteFile(act, []byte(text), 0o755))
		status, output := tool(t, im, append(words, act)...)
		if status != exitOK {
			t.Fatalf("status %d\n%s", status, output)
		}
		im.Adopt(t).MustPass(t)
	}
}

// network is what the tools show of a process's network namespace. The order of entries alike does not count.
func network(t *testing.T, pid int) map[string]string {
	t.Helper()
	shown := map[string]string{}
	for _, what := range []string{"ip -d -o link", "ip -d -o addr", "ip -4 -d route", "ip -6 -d route",
		"ip -4 rule",
		"nft list ruleset", "cat /proc/sys/net/unix/max_dgram_qlen /proc/sys/net/ipv4/ping_group_range",
		"grep -rs . /proc/sys/net/ipv4/conf /proc/sys/net/ipv6/conf"} {
		words := append([]string{"nsenter", "-t", strconv.Itoa(pid), "-n"}, strings.Fields(what)...)
		out, err := exec.Command(words[0], words[1:]...).Output()
		if err != nil && !strings.HasPrefix(what, "grep ") { // grep cannot read secrets that are not set
			t.Fatalf("%s: %v", what, err)
		}
		lines := strings.Split(passing.ReplaceAllString(string(out), ""), "\n")
		if !strings.HasPrefix(what, "nft") {
			slices.Sort(lines)
		}
		shown[what] = strings.Join(lines, "\n")
	}
	return shown
}

func compareNetworks(t *testing.T, before, after map[string]string) {
	t.Helper()
	for what := range before {
		b, a := strings.Split(before[what], "\n"), strings.Split(after[what], "\n")
		for _, line := range b {
			if !slices.Contains(a, line) {
				t.Errorf("%s: before: %s", what, line)
			}
		}
		for _, line := range a {
			if !slices.Contains(b, line) {
				t.Errorf("%s: after:  %s", what, line)
			}
		}
	}
}

// A network namespace comes back as the tools showed it, whichever CRIU has dumped it and however it locked the
// network; and stock CRIU takes it from there.
func TestNetworkNamespace(t *testing.T) {
	for _, release := range testenv.Releases() {
		for _, lock := range []string{"nftables", "iptables"} {
			t.Run(lock+release.Tag(), func(t *testing.T) {
				testenv.NeedRelease(t, release)
				victim := startInNetwork(t, networkSetup, "static")
				victim.Release = release
				hostBridge(t, "vb")
				awaitAddresses(t, victim.Pid)
				before := network(t, victim.Pid)
				im := victim.Dump(t, "--network-lock", lock)
				awaitNoLink(t, "vb")
				for format, want := range map[string]string{
					"text": "\nnetwork namespace: make one\n",
					"json": "\"network namespace: make one\",",
				} {
					_, plan := tool(t, im, "restore", "-D", im.Dir, "--dry-run", "--format", format,
						"--veth-pair", "va=vb@brp")
					if !strings.Contains(plan, want) || !strings.Contains(plan, "addresses: lo 127.0.0.1/8") {
						t.Errorf("the plan lacks the network:\n%s", plan)
					}
					awaitNoLink(t, "vb")
				}
				p, output := restore(t, im, "-v4", "--pie-plugin", trace(t), "--veth-pair", "va=vb@brp")
				if !strings.Contains(output, "PRE_SIGRETURN") {
					t.Errorf("no hook ran:\n%s", output)
				}
				awaitAddresses(t, p.Pid)
				compareNetworks(t, before, network(t, p.Pid))

				im = p.Dump(t, "--network-lock", lock)
				awaitNoLink(t, "vb")
				p = im.RestoreCRIU(t, "--external", "veth[va]:vb@brp")
				p.MustPass(t)
			})
		}
	}
}

// awaitAddresses waits until no address of a namespace is tentative, and links carry.
func awaitAddresses(t *testing.T, pid int) {
	t.Helper()
	for end := time.Now().Add(testenv.Timeout); ; time.Sleep(10 * time.Millisecond) {
		shown := shell(t, "nsenter", "-t", strconv.Itoa(pid), "-n", "ip", "addr")
		if !strings.Contains(shown, "tentative") && strings.Contains(shown, "fe80::") {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("addresses stay tentative:\n%s", shown)
		}
	}
}

// noAnswer is an action script: before a process exists, the links are up, and nobody answers for the sockets.
const noAnswer = `#!/bin/bash
[ "$CRTOOLS_SCRIPT_ACTION" = pre-restore ] || exit 0
timeout 0.5 bash -c '</dev/tcp/10.9.0.2/PORT'
[ $? = 124 ] || { echo "somebody answered" >&2; exit 1; }
`

// Connections with somebody outside go on: nothing answers for them between the links' coming up and the sockets.
func TestNetworkNamespaceConnections(t *testing.T) {
	for _, lock := range []string{"nftables", "iptables"} {
		t.Run(lock, func(t *testing.T) {
			victim := startInNetwork(t, strings.Replace(networkSetup, "net.ipv4.conf.va.rp_filter=2", "",
				1)+
				"until ip -4 addr show dev va | grep -q 10.9.0.2; do :; done\n", "tcp", "serve",
				"10.9.0.2")
			hostBridge(t, "vb")
			port := readFile(t, filepath.Join(victim.Dir, "port"))
			script := filepath.Join(t.TempDir(), "no-answer")
			must(t, os.WriteFile(script, []byte(strings.Replace(noAnswer, "PORT", port, 1)), 0o755))
			client := startClient(t, "10.9.0.2:"+port)
			client.await(t, 200)
			// The kernel may take a namespace's firewall down, and criu's lock with it, before its links.
			shell(t, "iptables", "-I", "OUTPUT", "-d", "10.9.0.2", "-j", "DROP")
			im := victim.Dump(t, "--network-lock", lock)
			awaitNoLink(t, "vb")
			shell(t, "iptables", "-D", "OUTPUT", "-d", "10.9.0.2", "-j", "DROP")
			before := client.got.Load()
			p, _ := restore(t, im, "--pie-plugin", trace(t), "--veth-pair", "va=vb@brp", "--action-script",
				script)
			client.await(t, before+200)
			client.finish(t)
			p.MustPass(t)
			if left := shell(t, "nft", "list", "ruleset"); strings.Contains(left, "crpie") {
				t.Errorf("the lock was left: %s", left)
			}
		})
	}
}

// A namespace that somebody gives, by path or descriptor, is entered; without one the restore is refused by name.
func TestExternalNetworkNamespace(t *testing.T) {
	testenv.NeedRoot(t)
	testenv.NeedTool(t, "ip")
	for _, name := range []string{"crpie-a", "crpie-b"} {
		shell(t, "ip", "netns", "add", name)
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
		shell(t, "ip", "-n", name, "link", "set", "lo", "up")
	}
	words := append([]string{"nsenter", "--net=/run/netns/crpie-a"}, testenv.Victim(t, "inet")...)
	victim := testenv.StartCommand(t, "inet", words...)
	im := victim.Dump(t, "--external", fmt.Sprintf("net[%d]:extRootNetNS", inodeOf(t, "/run/netns/crpie-a")))
	status, output := tool(t, im, "restore", "-d", "-D", im.Dir)
	if status != 1 || !strings.Contains(output,
		"use --external net[extRootNetNS]:PATH or --inherit-fd fd[N]:extRootNetNS") {
		t.Fatalf("status %d: %s", status, output)
	}
	p, _ := restore(t, im, "--pie-plugin", trace(t), "--external", "net[extRootNetNS]:/run/netns/crpie-b")
	if is, want := inodeOf(t, fmt.Sprintf("/proc/%d/ns/net", p.Pid)), inodeOf(t, "/run/netns/crpie-b"); is != want {
		t.Errorf("the task is in network namespace %d, want %d", is, want)
	}
	p.MustPass(t)
}

func inodeOf(t *testing.T, path string) uint64 {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return st.Ino
}

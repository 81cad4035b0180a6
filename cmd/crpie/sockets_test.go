//go:build linux && amd64

package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

var socketFiles = []string{"relative.sock", "seq.sock", "dgram.sock", "bound.sock"}

// A restore that fails takes the names away again that it has given; one that succeeds does not need the old files.
func TestSocketFiles(t *testing.T) {
	victim := testenv.Start(t, "unix")
	im := victim.Dump(t)
	for _, name := range socketFiles {
		if err := os.Remove(filepath.Join(victim.Dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	spec := testenv.Plugin(t, "testdata/plugins/fail.c") + ",stage=PRE_CREDS,how=error"
	if status, output := tool(t, im, "restore", "-d", "-D", im.Dir, "--pie-plugin", spec); status != exitFailed {
		t.Fatalf("status %d, want %d\n%s", status, exitFailed, output)
	}
	for _, name := range socketFiles {
		if _, err := os.Lstat(filepath.Join(victim.Dir, name)); err == nil {
			t.Errorf("%s has been left behind", name)
		}
	}
	p, _ := restore(t, im)
	p.MustPass(t)
}

// A name that somebody else has, or a file that is no socket, is a refusal: nothing is taken away from anybody.
func TestSocketNamesInUse(t *testing.T) {
	victim := testenv.Start(t, "unix")
	im := victim.Dump(t)
	abstract := fmt.Sprintf("@crpie\nvictim %d", im.Pid)
	path := filepath.Join(victim.Dir, "seq.sock")
	os.Remove(path)
	for _, at := range []net.UnixAddr{{Name: abstract, Net: "unix"}, {Name: path, Net: "unix"}} {
		l, err := net.ListenUnix("unix", &at)
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("the name of unix socket %q is in use", at.Name)
		if status, output := tool(t, im, "restore", "-d", "-D", im.Dir); status == 0 ||
			!strings.Contains(output, want) {
			t.Errorf("status %d\n%s\nwant %s", status, output, want)
		}
		l.Close()
	}
	ours := filepath.Join(victim.Dir, "dgram.sock")
	os.Remove(ours)
	if err := os.Symlink("/etc/passwd", ours); err != nil {
		t.Fatal(err)
	}
	want := ours + " is in the way of a socket: it is none itself"
	if status, output := tool(t, im, "restore", "-d", "-D", im.Dir); status == 0 ||
		!strings.Contains(output, want) {
		t.Errorf("status %d\n%s\nwant %s", status, output, want)
	}
	if _, err := os.Lstat(ours); err != nil {
		t.Error(err)
	}
}

// A socket that was bound to an address which its host did not have (IP_FREEBIND) does not need it now.
func TestForeignAddress(t *testing.T) {
	p, _ := restore(t, testenv.Start(t, "inet", "foreign").Dump(t))
	p.MustPass(t)
}

// Ports that somebody else has by now are refused before anything exists, each by its socket.
func TestPortsInUse(t *testing.T) {
	im := testenv.Start(t, "inet").Dump(t)
	_, plan := tool(t, im, "restore", "--dry-run", "-D", im.Dir)
	for name, pattern := range map[string]string{
		"TCP": `bind\(.*# (TCP socket (127\.0\.0\.1:\d+))`, "UDP": `bind\(.*# (UDP socket (\[::1\]:\d+))`,
	} {
		found := regexp.MustCompile(pattern).FindStringSubmatch(plan)
		if found == nil {
			t.Fatalf("the plan binds no %s:\n%s", name, plan)
		}
		if name == "TCP" {
			l, err := net.Listen("tcp", found[2])
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
		} else {
			l, err := net.ListenPacket("udp", found[2])
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
		}
		want := found[1] + ": the port is in use\n  hint: end the process that has it"
		if status, output := tool(t, im, "restore", "-d", "-D", im.Dir); status != exitFailed ||
			!strings.Contains(output, want) {
			t.Errorf("status %d\n%s\nwant %s", status, output, want)
		}
	}
}

// Descriptors in flight that no task has come back as well: a timer, and a socket with descriptors in its own queue.
func TestInFlightAlone(t *testing.T) {
	p, _ := restore(t, testenv.Start(t, "inflight", "alone").Dump(t), "--pie-plugin", trace(t))
	p.MustPass(t)
}

// CRIU dumps the path that a socket was bound to, not the one its file has by now: both restore that.
func TestRenamedUnixSocket(t *testing.T) {
	victim := testenv.Start(t, "unix")
	old, renamed := filepath.Join(victim.Dir, "seq.sock"), filepath.Join(victim.Dir, "renamed.sock")
	if err := os.Rename(old, renamed); err != nil {
		t.Fatal(err)
	}
	im := victim.Dump(t)
	p, _ := restore(t, im)
	p.MustPass(t)
	os.Remove(old)
	im.RestoreCRIU(t).MustPass(t)
}

// A deleted socket has its name again although something else has its path, which stays what it is.
func TestDeletedUnixSocketPath(t *testing.T) {
	victim := testenv.Start(t, "names", "all")
	im := victim.Dump(t)
	taken := filepath.Join(victim.Dir, "deleted.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: taken, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.WriteFile(filepath.Join(victim.Dir, "folder"), []byte("a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, _ := restore(t, im)
	conn, err := net.Dial("unix", taken)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	os.Remove(taken) // the victim looks whether they are there
	os.Remove(filepath.Join(victim.Dir, "folder"))
	p.MustPass(t)
}

// Sockets are connected anew to who has the names of peers that were not dumped, by crpie and criu alike.
func TestExternalUnixPeers(t *testing.T) {
	dir := t.TempDir()
	for _, names := range [][2]string{{filepath.Join(dir, "log"), filepath.Join(dir, "server")},
		{"@crpie log " + dir, "@crpie server " + dir}} {
		log, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: names[0], Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		server, err := net.ListenUnix("unix", &net.UnixAddr{Name: names[1], Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		wants := func(text string) {
			t.Helper()
			conn, err := server.AcceptUnix()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() }) // the dump must find it
			for _, from := range []*net.UnixConn{log, conn} {
				got := make([]byte, 100)
				if n, err := from.Read(got); err != nil || string(got[:n]) != text {
					t.Errorf("%v: got %q, %v, want %q", from.LocalAddr(), got[:n], err, text)
				}
			}
		}
		victim := testenv.Start(t, "unix", names[:]...)
		wants("before")
		im := victim.Dump(t, append(victim.Sockets(t), "--ext-unix-sk")...)
		if status, output := tool(t, im, "restore", "-d", "-D", im.Dir); status == 0 ||
			!strings.Contains(output, "use --ext-unix-sk") {
			t.Errorf("status %d\n%s", status, output)
		}
		p, _ := restore(t, im, "-x")
		p.MustPass(t)
		wants("after")
		im.RestoreCRIU(t, "--ext-unix-sk").MustPass(t)
		wants("after")
		log.Close()
		server.Close()
	}
}

// A restore may need more descriptors than crpie was allowed at first.
func TestManySockets(t *testing.T) {
	im := testenv.Start(t, "sockets", "many").Dump(t)
	cmd := im.Command(t, "/bin/sh", "-c", `ulimit -Sn 300 && exec "$@"`, "sh", os.Args[0], "restore", "-d", "-D",
		im.Dir)
	cmd.Env = append(cmd.Env, asTool+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	im.Adopt(t).MustPass(t)
}

// A connection to somebody who was not dumped goes on as one that whoever restores has made.
func TestInheritUnixSocket(t *testing.T) {
	criu, names := testenv.NeedCRIU(t), make([]string, 2)
	for i := range names {
		names[i] = fmt.Sprintf("@crpie outside %d %s", i, t.TempDir())
	}
	log, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: names[0], Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	server, err := net.Listen("unix", names[1])
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	victim := testenv.Start(t, "unix", names...)
	first, err := server.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	resource, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/4", victim.Pid)) // its connection, made second
	if err != nil {
		t.Fatal(err)
	}
	im := victim.Dump(t, append(victim.Sockets(t), "--ext-unix-sk")...)
	for _, argv := range [][]string{{criu.Path, "restore", "-W", t.TempDir()}, {os.Args[0], "restore"}} {
		ends := socketpair(t)
		cmd := im.Command(t, argv[0], append(argv[1:], "-d", "-D", im.Dir, "-x", "--inherit-fd",
			"fd[3]:"+resource)...)
		cmd.Env, cmd.ExtraFiles = append(cmd.Env, asTool+"=1"), ends[:1]
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		im.Adopt(t).MustPass(t)
		got := make([]byte, 100)
		if n, err := ends[1].Read(got); err != nil || string(got[:n]) != "after" {
			t.Errorf("%s: got %q, %v", argv[0], got[:n], err)
		}
	}
}

func socketpair(t *testing.T) []*os.File {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ends := []*os.File{os.NewFile(uintptr(fds[0]), "end"), os.NewFile(uintptr(fds[1]), "end")}
	t.Cleanup(func() { ends[0].Close(); ends[1].Close() })
	return ends
}

// A socket may have an address that this host lacks, because IP_FREEBIND was switched off after bind: the images do
// not tell.
func TestForeignAddresses(t *testing.T) {
	im := testenv.Start(t, "ports", "foreign").Dump(t)
	status, output := tool(t, im, "restore", "-d", "-D", im.Dir)
	want := "TCP socket 192.0.2.7:7777: this host does not have the address\n  hint: give the address to one of its interfaces, or use --freebind"
	if status != exitFailed || !strings.Contains(output, want) {
		t.Errorf("status %d:\n%s\nwant %s", status, output, want)
	}
	p, output := restore(t, im, "--freebind", "--pie-plugin", trace(t))
	if said := strings.Count(output,
		": this host does not have the address, and nobody reaches the socket until it does"); said != 6 {
		t.Errorf("%d warnings of 6 sockets:\n%s", said, output)
	}
	p.MustPass(t)
}

//go:build linux && amd64

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/crpie/crpie/internal/testenv"
)

// Connections that both ends have closed, with data on its way.
func TestClosingConnections(t *testing.T) {
	p, _ := restore(t, testenv.Start(t, "tcp", "closing").Dump(t), "--pie-plugin", trace(t))
	p.MustPass(t)
	testenv.Start(t, "tcp", "closing").Dump(t).RestoreCRIU(t).MustPass(t)
}

// However the dump has locked the network, and if it has not: connections between restored tasks go on.
func TestNetworkLocks(t *testing.T) {
	for _, lock := range []string{"iptables", "skip"} { // nftables is what the other tests use
		t.Run(lock, func(t *testing.T) {
			p, _ := restore(t, testenv.Start(t, "tcp").Dump(t, "--network-lock", lock))
			p.MustPass(t)
		})
	}
}

// A client that nobody dumps goes on with the restored server: nothing is lost or repeated while it is under load.
// The same with criu restore.
func TestOtherEndElsewhere(t *testing.T) {
	plugin := trace(t)
	for _, lock := range []string{"nftables", "iptables"} {
		for name, again := range map[string]func(im *testenv.Images) *testenv.Process{
			"crpie": func(im *testenv.Images) *testenv.Process {
				p, _ := restore(t, im, "--pie-plugin", plugin)
				return p
			},
			"criu": func(im *testenv.Images) *testenv.Process { return im.RestoreCRIU(t) },
		} {
			t.Run(name+"/"+lock, func(t *testing.T) {
				victim := testenv.Start(t, "tcp", "serve")
				client := startClient(t, "127.0.0.1:"+readFile(t, filepath.Join(victim.Dir, "port")))
				client.await(t, 200)
				im := victim.Dump(t, "--network-lock", lock)
				before := client.got.Load()
				p := again(im)
				client.await(t, before+500)
				client.finish(t)
				p.MustPass(t)
			})
		}
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// echoClient sends numbered blocks without pause, as fast as the server echoes them, and checks what comes back.
type echoClient struct {
	conn *net.TCPConn
	got  atomic.Int64 // blocks that came back right
	stop atomic.Bool
	sent chan error
	back chan error
}

func startClient(t *testing.T, address string) *echoClient {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := &echoClient{conn: conn.(*net.TCPConn), sent: make(chan error, 1), back: make(chan error, 1)}
	if err := c.conn.SetDeadline(time.Now().Add(testenv.Timeout)); err != nil {
		t.Fatal(err)
	}
	go func() { c.sent <- c.send() }()
	go func() { c.back <- c.receive() }()
	return c
}

// block differs from every other in every word.
func block(number int64) []byte {
	b := make([]byte, 0, 8000)
	for i := range int64(1000) {
		b = binary.LittleEndian.AppendUint64(b, uint64(number*1000+i)*0x9e3779b97f4a7c15)
	}
	return b
}

func (c *echoClient) send() error {
	for n := int64(0); !c.stop.Load(); n++ {
		if _, err := c.conn.Write(block(n)); err != nil {
			return err
		}
	}
	return c.conn.CloseWrite()
}

func (c *echoClient) receive() error {
	got := make([]byte, len(block(0)))
	for n := int64(0); ; n++ {
		if _, err := io.ReadFull(c.conn, got); err != nil {
			return err
		}
		if !bytes.Equal(got, block(n)) {
			return fmt.Errorf("block %d came back as another", n)
		}
		c.got.Add(1)
	}
}

func (c *echoClient) await(t *testing.T, blocks int64) {
	t.Helper()
	for end := time.Now().Add(testenv.Timeout); c.got.Load() < blocks; time.Sleep(time.Millisecond) {
		select {
		case err := <-c.sent:
			t.Fatalf("sending: %v", err)
		case err := <-c.back:
			t.Fatalf("after %d blocks: %v", c.got.Load(), err)
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("%d blocks came back, want %d", c.got.Load(), blocks)
		}
	}
}

// finish lets the server echo the rest. Its end is a reset, so that nothing remembers the connection.
func (c *echoClient) finish(t *testing.T) {
	t.Helper()
	c.stop.Store(true)
	if err := <-c.sent; err != nil {
		t.Errorf("sending: %v", err)
	}
	if err := <-c.back; !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("after %d blocks: %v", c.got.Load(), err)
	}
}

// A connection that was being made is made after the restore, when the other end answers.
func TestConnecting(t *testing.T) {
	for name, again := range map[string]func(t *testing.T, im *testenv.Images) *testenv.Process{
		"crpie": func(t *testing.T, im *testenv.Images) *testenv.Process {
			p, _ := restore(t, im, "--pie-plugin", trace(t))
			return p
		},
		"criu": func(t *testing.T, im *testenv.Images) *testenv.Process { return im.RestoreCRIU(t) },
	} {
		t.Run(name, func(t *testing.T) {
			l, others := deafListener(t)
			_, port, _ := strings.Cut(l.Addr().String(), ":")
			p := again(t, testenv.Start(t, "tcp", "dial", port).Dump(t))
			for range others {
				conn, err := l.Accept()
				if err != nil {
					t.Fatal(err)
				}
				conn.Close()
			}
			done := make(chan error, 1)
			go func() {
				conn, err := l.Accept()
				if err == nil {
					_, err = io.ReadFull(conn, make([]byte, len("ping")))
					conn.(*net.TCPConn).SetLinger(0)
					conn.Close()
				}
				done <- err
			}()
			p.MustPass(t)
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// deafListener has as many connections waiting as it can hold: the kernel answers no more, listen(2).
func deafListener(t *testing.T) (l net.Listener, waiting int) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}),
		syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "listener")
	defer file.Close()
	if l, err = net.FileListener(file); err != nil {
		t.Fatal(err)
	}
	l.(*net.TCPListener).SetDeadline(time.Now().Add(testenv.Timeout))
	t.Cleanup(func() { l.Close() })
	conn, err := net.Dial("tcp", l.Addr().String()) // one more than its backlog of 0
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return l, 1
}

// Without --tcp-established connections are refused; with --tcp-close their sockets are there, but closed.
func TestTCPFlags(t *testing.T) {
	victim := testenv.Start(t, "tcp", "serve")
	client, err := net.Dial("tcp", "127.0.0.1:"+readFile(t, filepath.Join(victim.Dir, "port")))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(client, make([]byte, 1)); err != nil { // now the server waits for more
		t.Fatal(err)
	}
	im := victim.Dump(t)
	status, output := tool(t, im, "restore", "-d", "-D", im.Dir)
	want := fmt.Sprintf("TCP connection %v to %v: not without a flag\n  hint: use --tcp-established to restore it, or --tcp-close to restore it closed",
		client.RemoteAddr(), client.LocalAddr())
	if status != exitFailed || !strings.Contains(output, want) {
		t.Errorf("status %d, output:\n%s\nwant %s", status, output, want)
	}
	p, _ := restore(t, im, "--tcp-close")
	p.MustPass(t) // to the server it looks as if the client had closed

	p, _ = restore(t, im, "--tcp-close", "-s") // before it looks
	again := p.Dump(t)
	p, _ = restore(t, again)
	for tid := range testenv.Threads(p.Pid) { // no task has more than one
		if err := syscall.Kill(tid, syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
	}
	p.MustPass(t)
}

// What a hook has done to the descriptor of a connection stands: it is closed, or another file. The connection is gone.
func TestHookDropsConnection(t *testing.T) {
	plugin := testenv.Plugin(t, "testdata/plugins/drop.c")
	victim := testenv.Start(t, "tcp", "serve")
	client, err := net.Dial("tcp", "127.0.0.1:"+readFile(t, filepath.Join(victim.Dir, "port")))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	im := victim.Dump(t)
	_, plan := tool(t, im, "restore", "--dry-run", "--tcp-established", "-D", im.Dir)
	found := regexp.MustCompile(`TCP connection .*, task (\d+) fd (\d+):`).FindStringSubmatch(plan)
	if found == nil {
		t.Fatalf("no connection in the plan:\n%s", plan)
	}
	for how, file := range map[string]string{"": "", ",with=0": "/dev/null"} {
		p, _ := restore(t, im, "-s", "--pie-plugin",
			fmt.Sprintf("%s,pid=%s,fd=%s%s", plugin, found[1], found[2], how))
		if now, _ := os.Readlink(fmt.Sprintf("/proc/%s/fd/%s", found[1], found[2])); now != file {
			t.Errorf("%q: the descriptor is %q, want %q", how, now, file)
		}
		if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
	}
}

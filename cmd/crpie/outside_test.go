//go:build linux && amd64

package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/crpie/crpie/internal/testenv"
)

// An outsider is a client of redis that is not dumped: it increments a counter of its own, one request at a time.
type outsider struct {
	name    string
	conn    net.Conn
	answers *bufio.Reader
	acked   int // the highest number that was answered
}

func newOutsider(t *testing.T, name string, port int) *outsider {
	t.Helper()
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(testenv.Timeout))
	t.Cleanup(func() { conn.Close() })
	return &outsider{name: name, conn: conn, answers: bufio.NewReader(conn)}
}

// increment gives the new value of the counter.
func (o *outsider) increment() (value int, err error) {
	if _, err := fmt.Fprintf(o.conn, "INCR %s\r\n", o.name); err != nil {
		return 0, err
	}
	line, err := o.answers.ReadString('\n')
	if err != nil {
		return 0, err
	}
	_, err = fmt.Sscanf(line, ":%d\r\n", &value)
	return value, err
}

// count increments until that fails.
func (o *outsider) count(t *testing.T, some *sync.WaitGroup) {
	const enough = 100
	for {
		value, err := o.increment()
		if err != nil {
			if o.acked < enough {
				t.Errorf("%s: after answer %d: %v", o.name, o.acked, err)
				some.Done()
			}
			return
		}
		if value != o.acked+1 {
			t.Errorf("%s: answer %d after %d", o.name, value, o.acked)
		}
		if o.acked = value; value == enough {
			some.Done()
		}
	}
}

// Clients that are not dumped lose their connections. They connect anew after the restore and find each increment that
// was acknowledged, and no other than perhaps the one that was on its way.
func TestClientsOutside(t *testing.T) {
	testenv.NeedCRIU(t)
	testenv.NeedTool(t, "redis-server")
	plugin := trace(t)
	p := testenv.StartCommand(t, "redis", testenv.NeedTool(t, "/usr/bin/python3", "python3"), "-B",
		filepath.Join(testenv.Root(), "testdata", "programs", "alone.py"))
	var port int
	if _, err := fmt.Sscanf(p.Output(), "PORT %d\n", &port); err != nil {
		t.Fatalf("%v in %q", err, p.Output())
	}
	var clients []*outsider
	var some, all sync.WaitGroup
	for i := range 3 {
		o := newOutsider(t, fmt.Sprintf("counter%d", i), port)
		clients = append(clients, o)
		some.Add(1)
		all.Go(func() { o.count(t, &some) })
	}
	some.Wait()
	p.Connected = true
	im := p.Dump(t)
	for _, o := range clients {
		o.conn.Close() // what the host does if the server does not come back
	}
	all.Wait()

	goesOn := func(t *testing.T, p *testenv.Process) {
		t.Helper()
		for _, was := range clients {
			o := newOutsider(t, was.name, port)
			value, err := o.increment()
			if err != nil || value != was.acked+1 && value != was.acked+2 {
				t.Errorf("%s: %d after %d was acknowledged, %v", o.name, value, was.acked, err)
			}
			o.conn.(*net.TCPConn).SetLinger(0)
			o.conn.Close()
		}
		p.MustPass(t)
	}
	t.Run("criu", func(t *testing.T) { goesOn(t, im.RestoreCRIU(t)) })
	for _, flag := range []string{"--tcp-close", "--tcp-established"} {
		t.Run(flag, func(t *testing.T) {
			p, _ := restore(t, im, flag, "--pie-plugin", plugin)
			goesOn(t, p)
		})
	}
}

// The capabilities that docs/restore.md names are enough for a process that has none and no sockets, and none of them
// can be missing.
func TestNeededCapabilities(t *testing.T) {
	setpriv := testenv.NeedTool(t, "setpriv")
	page, err := os.ReadFile(filepath.Join(testenv.Root(), "docs", "restore.md"))
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Join(strings.Fields(string(page)), " ")
	_, list, _ := strings.Cut(words, "and root (")
	list, _, _ = strings.Cut(list, ", CAP_NET_ADMIN for sockets")
	needed := strings.Split(list, ", ")
	im := testenv.StartCommand(t, "sleep", setpriv, "--reuid=1000", "--regid=1000", "--clear-groups",
		"--bounding-set=-all",
		"--inh-caps=-all", "/bin/sh", "-c", "echo READY $$; exec sleep 1000").Dump(t)
	for missing := -1; missing < len(needed); missing++ {
		set := "-all"
		for i, name := range needed {
			if i != missing {
				set += ",+" + strings.ToLower(strings.TrimPrefix(name, "CAP_"))
			}
		}
		cmd := im.Command(t, setpriv, "--bounding-set="+set, "--inh-caps=-all", os.Args[0], "restore", "-d",
			"-D", im.Dir)
		cmd.Env = append(cmd.Env, asTool+"=1")
		out, err := cmd.CombinedOutput()
		switch {
		case missing < 0 && err != nil:
			t.Fatalf("with %s: %v\n%s", list, err, out)
		case missing < 0:
			if err := im.Adopt(t).Kill(); err != nil {
				t.Fatal(err)
			}
		case err == nil || !strings.Contains(string(out), "crpie lacks "+needed[missing]):
			t.Errorf("without %s: %v\n%s", needed[missing], err, out)
		}
	}
}

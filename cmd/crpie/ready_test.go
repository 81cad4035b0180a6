//go:build linux && amd64

package main

import (
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// ready builds a ready plugin, and returns what gives the flags that have it run with each of the parameters.
func ready(t *testing.T, name string) func(parameters ...string) (flags []string) {
	t.Helper()
	plugin := testenv.Plugin(t, "plugins/"+name+".c")
	return func(parameters ...string) (flags []string) {
		for _, p := range parameters {
			flags = append(flags, "--pie-plugin", plugin+","+p)
		}
		return flags
	}
}

// wantDrawn says what of the program's output differs from what it should be, as fmt.Sprint of want has it.
func wantDrawn(t *testing.T, how string, p *testenv.Process, want map[string]string) map[string]string {
	t.Helper()
	drew := draws(t, p)
	for name, value := range want {
		if drew[name] != value {
			t.Errorf("%s: %s is %q, want %q", how, name, drew[name], value)
		}
	}
	return drew
}

// wantRefused: the restore fails, says why, and leaves nothing.
func wantRefused(t *testing.T, im *testenv.Images, says string, flags ...string) {
	t.Helper()
	mustFail(t, im, regexp.QuoteMeta(says), flags...)
}

// wantLeft: with missing=ok a task without it is left alone.
func wantLeft(t *testing.T, im *testenv.Images, flags ...string) {
	t.Helper()
	flags[len(flags)-1] += ",missing=ok"
	p, _ := restore(t, im, flags...)
	p.MustPass(t)
}

// nothingTold is what told.py prints if nobody tells it anything.
func nothingTold() map[string]string {
	return map[string]string{"signal": "[]", "eventfd": "nothing", "pipe": "nothing", "socket": "nothing",
		"fifo": "nothing", "dgram": "nothing", "stream": "nothing", "packet": "nothing", "sysgenid": "7",
		"vmclock": "4 5 256 7"}
}

// A program is told of its restore in each way: by crpie restore, by stock criu from a graft, and by crpie try.
func TestReadyNotify(t *testing.T) {
	notify := ready(t, "notify")
	flags := notify("signal=USR2", "fd=100", "fd=102", "fd=104,text=a clone", "path=fifo", "path=dgram",
		"path=stream", "path=packet", "generation=sysgenid", "generation=vmclock")
	want := map[string]string{"signal": "[12]", "eventfd": "1", "pipe": `b'restored\n'`, "socket": `b'a clone\n'`,
		"fifo": `b'restored\n'`, "dgram": `b'restored\n'`, "stream": `b'restored\n'`, "packet": `b'restored\n'`}
	started := testenv.StartCommand(t, "told", interpreted("python3", "told.py")(t)...)
	tried := testenv.StartCommand(t, "told", interpreted("python3", "told.py")(t)...)
	im := started.Dump(t)
	p, _ := restore(t, im)
	wantDrawn(t, "without", p, nothingTold())
	first, _ := restore(t, im, flags...)
	drew := []map[string]string{wantDrawn(t, "restore", first, want)}
	second, _ := restore(t, im, flags...)
	drew = append(drew, wantDrawn(t, "restore", second, want),
		wantDrawn(t, "graft", graftOnto(t, im, flags...).RestoreCRIU(t), want))
	drew = append(drew, wantTried(t, tried, flags, want))
	for _, name := range []string{"sysgenid", "vmclock"} {
		seen := map[string]bool{nothingTold()[name]: true}
		for _, d := range drew {
			seen[d[name]] = true
		}
		if len(seen) != len(drew)+1 {
			t.Errorf("%s: %v, want another generation each time", name, slices.Collect(maps.Keys(seen)))
		}
	}
	notifyRefuses(t, im, notify)
}

func notifyRefuses(t *testing.T, im *testenv.Images, notify func(...string) []string) {
	for parameters, says := range map[string]string{
		"signal=USR9":               "want a name such as USR1, or a number of 1 to 64",
		"signal=0":                  "want a name such as USR1, or a number of 1 to 64",
		"signal=SIGHUP":             "has no handler for the signal SIGHUP, which is not sent",
		"fd=99":                     "has no descriptor 99",
		"fd=1":                      "want an eventfd, a pipe or a socket",
		"path=sysgenid":             "sysgenid is neither a FIFO nor a socket",
		"path=nowhere":              "there is no nowhere",
		"generation=fifo":           "fifo is not a regular file",
		"generation=nowhere":        "there is no nowhere",
		"fd=101":                    "is open for reading alone",
		"path=fifo,signal=USR2":     "parameters signal and path exclude each other",
		"generation=/proc/self/pid": "there is no /proc/self/pid",
	} {
		wantRefused(t, im, says, notify(parameters)...)
	}
	const other = "neither a number nor a clock\n"
	file := filepath.Join(t.TempDir(), "text")
	must(t, os.WriteFile(file, []byte(other), 0o644))
	wantRefused(t, im, "is neither a number of 4 bytes", notify("generation="+file)...)
	if text, err := os.ReadFile(file); err != nil || string(text) != other {
		t.Errorf("%q, %v", text, err)
	}
	for _, parameters := range []string{"signal=HUP", "fd=99", "path=nowhere", "generation=nowhere"} {
		wantLeft(t, im, notify(parameters)...)
	}
}

// The name is that of the tasks' own namespace; where crpie has it, too, it is refused.
func TestReadyHostname(t *testing.T) {
	testenv.NeedTool(t, "unshare")
	testenv.NeedTool(t, "hostname")
	hostname := ready(t, "hostname")
	script := fmt.Sprintf("hostname dumped; exec python3 %s", source("told.py"))
	im := testenv.StartCommand(t, "told", "unshare", "--uts", "sh", "-c", script).Dump(t)
	for _, name := range []string{"first", "second", strings.Repeat("x", 64)} {
		p, _ := restore(t, im, hostname("name="+name)...)
		wantDrawn(t, "restore", p, map[string]string{"hostname": name})
	}
	tried := testenv.StartCommand(t, "told", "unshare", "--uts", "sh", "-c", script)
	wantTried(t, tried, hostname("name=third"), map[string]string{"hostname": "third"})
	wantRefused(t, im, "the name is longer than 64 bytes", hostname("name="+strings.Repeat("x", 65))...)
	shared := testenv.StartCommand(t, "told", interpreted("python3", "told.py")(t)...).Dump(t)
	wantRefused(t, shared, "UTS namespace", hostname("name=x")...) // the machine's, or a container's with these tests
	hostnameOfOthers(t, shared, hostname("name=x"))
}

// crpie itself is in a UTS namespace that is not the machine's.
func hostnameOfOthers(t *testing.T, im *testenv.Images, hostname []string) {
	const newUTS = 0x4000000 // CLONE_NEWUTS
	flags := append([]string{"restore", "-d", "-D", im.Dir}, hostname...)
	for _, more := range [][]string{nil, {"--new-pids"}} {
		status, output := toolIn(t, im, newUTS, append(flags, more...)...)
		if status != 1 || !strings.Contains(output, "has the same UTS namespace") {
			t.Errorf("%v: status %d:\n%s", more, status, output)
		}
	}
	flags[len(flags)-1] += ",shared=ok"
	if status, output := toolIn(t, im, newUTS, flags...); status != 0 {
		t.Fatalf("status %d:\n%s", status, output)
	}
	wantDrawn(t, "shared=ok", im.Adopt(t), map[string]string{"hostname": "x"})
}

// Variables, constants and code of a program are changed if they are what is expected, and else nothing is.
func TestReadyPatch(t *testing.T) {
	out := built(t, "patched", "gcc", "-O2", "-Wall", "-fcf-protection=none", "-o", "OUT", source("patched.c"))
	patch := ready(t, "patch")
	flags := patch("symbol=limit,type=u32,old=100,new=5000",
		"symbol=endpoint,type=string,old=db-1,new=a-longer-name.x", "symbol=table,offset=1,old=0203,new=0B0c",
		"symbol=answer,old=b803000000c3,new=b807000000c3")
	want := map[string]string{"limit": "5000", "endpoint": "a-longer-name.x 15", "table": "1 11 12 4",
		"answer": "7"}
	im := testenv.StartCommand(t, "patched", out).Dump(t)
	p, _ := restore(t, im)
	wantDrawn(t, "without", p, map[string]string{"limit": "100", "endpoint": "db-1 4", "table": "1 2 3 4", "answer": "3"})
	p, _ = restore(t, im, flags...)
	wantDrawn(t, "restore", p, want)
	wantDrawn(t, "graft", graftOnto(t, im, flags...).RestoreCRIU(t), want)
	for parameters, says := range map[string]string{
		"symbol=limit,type=u32,old=101,new=5":                       "has other bytes than old=, from byte 0 on: 64000000",
		"symbol=limit,type=u32,old=4294967296,new=5":                "want a number of 0 to 4294967295",
		"symbol=limit,type=u64,old=100,new=5":                       "8 bytes do not fit into the 4 that are there",
		"symbol=limit,old=64,new=6465":                              "old has 1 bytes and new 2: want as many",
		"symbol=limit,old=6,new=7":                                  "want pairs of hexadecimal digits",
		"symbol=limit,offset=4,old=00,new=01":                       "offset=4 is behind the end of limit, which has 4 bytes",
		"symbol=endpoint,type=string,old=db-1,new=a-longer-name.xy": "17 bytes do not fit into the 16 that are there",
		"symbol=nothing,old=00,new=01":                              "has no symbol nothing",
		"symbol=limit,library=libc.so,old=00,new=01":                "has no symbol limit in libc.so",
		"addr=1,old=00,new=01":                                      "0x1 is not readable memory of patched",
	} {
		wantRefused(t, im, says, patch(parameters)...)
	}
	wantLeft(t, im, patch("symbol=nothing,old=00,new=01")...)
}

// A handler of the program draws from generators that reseed has renewed before.
func TestReadyNotifyAfterReseed(t *testing.T) {
	im := testenv.StartCommand(t, "node", interpreted("node", "draw.js")(t)...).Dump(t)
	flags := append(ready(t, "reseed")("allow=node"), ready(t, "notify")("signal=USR2")...)
	draw := func() map[string]string {
		p, _ := restore(t, im, flags...)
		return draws(t, p)
	}
	first, second := draw(), draw()
	for _, name := range []string{"randomBytes", "randomUUID", "randomInt"} {
		if first[name] == second[name] {
			t.Errorf("%s: both clones drew %s", name, first[name])
		}
	}
}

// Variables have new values, of any length, also in a program that has moved its environment, and in Node.js.
func TestReadySetEnv(t *testing.T) {
	setEnv := ready(t, "set-env")
	id, long := filepath.Join(t.TempDir(), "id"), filepath.Join(t.TempDir(), "long")
	write(t, id, []byte("from a file\n"), 0o600)
	write(t, long, []byte("LONG="+strings.Repeat("x", 9999)), 0o600)
	flags := setEnv("set=HOME=/a/longer/one,set=NEW=a=b,set=FROM_SETENV=new,file=FROM_FILE="+id+",uuid=ID", "set=@"+long)
	want := map[string]string{"HOME": "/a/longer/one", "NEW": "a=b", "FROM_SETENV": "new",
		"FROM_FILE": "from a file", "LANG": "C", "length": "9999", "again": "changed again later"}
	for _, how := range []string{"moved", "as-it-was"} {
		program := interpreted("python3", "env.py", how)(t)
		tried := testenv.StartCommand(t, "env", program...)
		im := testenv.StartCommand(t, "env", program...).Dump(t)
		p, _ := restore(t, im)
		wantDrawn(t, "without", p, map[string]string{"HOME": "/", "NEW": "none", "FROM_SETENV": "old", "length": "0"})
		p, output := restore(t, im, append(flags, "-v4")...)
		first := wantDrawn(t, how+" restored", p, want)
		if strings.Contains(output, first["ID"]) || strings.Contains(output, "a=b") {
			t.Errorf("a value is in the log:\n%s", output)
		}
		second := wantDrawn(t, how+" grafted", graftOnto(t, im, flags...).RestoreCRIU(t), want)
		if len(first["ID"]) != 36 || len(second["ID"]) != 36 || first["ID"] == second["ID"] {
			t.Errorf("ids %q and %q, want two UUIDs", first["ID"], second["ID"])
		}
		wantTried(t, tried, flags, want)
	}
	node := testenv.StartCommand(t, "node", interpreted("node", "env.js")(t)...).Dump(t)
	p, _ := restore(t, node, flags...)
	wantDrawn(t, "node", p, map[string]string{"HOME": "/a/longer/one", "NEW": "a=b"})
	setEnvRefuses(t, node, setEnv)
}

func setEnvRefuses(t *testing.T, im *testenv.Images, setEnv func(...string) []string) {
	for parameters, says := range map[string]string{
		"set=NAME":          "set: want set=NAME=VALUE, with a name of 1 to 255 bytes",
		"set==x":            "set: want set=NAME=VALUE, with a name of 1 to 255 bytes",
		"uuid=A=B":          "uuid: want uuid=NAME, with a name of 1 to 255 bytes",
		"file=A=/nowhere":   "cannot set A from /nowhere: ENOENT",
		"file=A=/dev/null":  "cannot set A: /dev/null is not a regular file",
		"missing=ok":        "which variable? set=NAME=VALUE, file=NAME=FILE or uuid=NAME",
		"set=A=1,uuid=B=C":  "uuid: want uuid=NAME",
		"set=A=1,file=B=/x": "cannot set B from /x: ENOENT",
	} {
		wantRefused(t, im, says, setEnv(parameters)...)
	}
	golang := testenv.Start(t, "golang").Dump(t)
	wantRefused(t, golang, "has no variable environ: no libc, as in Go", setEnv("set=A=1")...)
	wantLeft(t, golang, setEnv("set=A=1")...)
}

// wantTried runs plugins in a process that lives, and compares what that draws then.
func wantTried(t *testing.T, p *testenv.Process, flags []string, want map[string]string) map[string]string {
	t.Helper()
	words := []string{"try", "-p", fmt.Sprint(p.Pid)}
	for i := 1; i < len(flags); i += 2 {
		words = append(words, flags[i])
	}
	if status, _, stderr := apart(t, words...); status != 0 {
		t.Errorf("try: status %d: %s", status, stderr)
	}
	return wantDrawn(t, "try", p, want)
}

// Files are opened anew, or others in their place; flags, positions and what descriptors have in common stay.
func TestReadyReopen(t *testing.T) {
	reopen := ready(t, "reopen")
	program := interpreted("python3", "log.py")(t)
	started := testenv.StartCommand(t, "log", program...)
	dir := started.Dir + "/"
	im := started.Dump(t)
	want := map[string]string{"first": "%s 7 0x401 False", "second": "%s 6 0x401 True",
		"other": "%s 0 0x1401 False", "gone": "gone.log 0 0x801 False", "data": "data 4 0x2 False", "together": "True True False"}
	named := func(log string) map[string]string {
		named := maps.Clone(want)
		for _, name := range []string{"first", "second", "other"} {
			named[name] = fmt.Sprintf(want[name], log)
		}
		return named
	}
	without := named("app.log")
	without["gone"], without["second"] = "gone.log (deleted) 0 0x801 False", "app.log 13 0x401 True"
	p, _ := restore(t, im)
	wantDrawn(t, "without", p, without)
	for _, clone := range []string{"1", "2"} {
		flags := reopen("path="+dir+"app.log,to="+dir+clone+".log", "path="+dir+"gone.log",
			"path="+dir+"data,to="+dir+clone+".data,position=start")
		moved := named(clone + ".log")
		moved["data"] = clone + ".data 0 0x2 False"
		if clone == "1" {
			p, _ = restore(t, im, flags...)
		} else {
			p = graftOnto(t, im, append(flags, "--allow-skipped-stages")...).RestoreCRIU(t)
		}
		wantDrawn(t, clone, p, moved)
		if text, err := os.ReadFile(dir + clone + ".log"); err != nil || string(text) != "first\nsecond\nother\n" {
			t.Errorf("%s.log: %q, %v", clone, text, err)
		}
		if info, err := os.Stat(dir + clone + ".log"); err != nil || info.Mode() != 0o640 {
			t.Errorf("%s.log: mode %v, %v", clone, info.Mode(), err)
		}
	}
	wantRefused(t, im, "has no descriptor for "+dir+"none", reopen("path="+dir+"none")...)
	wantRefused(t, im, "cannot open "+dir+"no/where for descriptor", reopen("path="+dir+"data,to="+dir+"no/where")...)
	wantLeft(t, im, reopen("path="+dir+"none")...)
	reopenTried(t, testenv.StartCommand(t, "log", program...), reopen, named("tried.log"))
}

func reopenTried(t *testing.T, p *testenv.Process, reopen func(...string) []string, want map[string]string) {
	dir := p.Dir + "/"
	wantTried(t, p, reopen("path="+dir+"app.log,to="+dir+"tried.log", "path="+dir+"gone.log"), want)
}

// echoing listens on a port of this machine and hands over the connections.
type echoing struct {
	port  int
	conns chan net.Conn
}

func startEcho(t *testing.T, address string) *echoing {
	t.Helper()
	quiet := net.ListenConfig{KeepAlive: -1} // a dropped socket answers probes with a reset
	l, err := quiet.Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	e := &echoing{l.Addr().(*net.TCPAddr).Port, make(chan net.Conn, 9)}
	go func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			e.conns <- c
		}
	}()
	return e
}

// heard is what the other end has got up to now: on the loopback device what was sent has arrived.
func heard(t *testing.T, c net.Conn) string {
	t.Helper()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	said := "nothing"
	if err := raw.Read(func(fd uintptr) bool {
		n, _, err := syscall.Recvfrom(int(fd), make([]byte, 9), syscall.MSG_DONTWAIT)
		if err != syscall.EAGAIN {
			said = fmt.Sprint(n, err)
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return said
}

// dropped is what connected.py finds of a connection that was dropped.
const dropped = "ended b'' Broken pipe Transport endpoint is not connected"

// A program finds the connections that are dropped ended, and goes on with the others; their other ends hear nothing.
func TestReadyDropConnections(t *testing.T) {
	drop := ready(t, "drop-connections")
	first, kept, last := startEcho(t, "127.0.0.1:0"), startEcho(t, "127.0.0.1:0"), startEcho(t, "[::1]:0")
	flags := drop(fmt.Sprintf("peer=127.0.0.1:%d,peer=[::1]:%d", first.port, last.port))
	want := map[string]string{"0": dropped, "1": `b'hello\n'`, "2": dropped}
	start := func() (p *testenv.Process, a, b net.Conn) {
		argv := append(interpreted("python3", "connected.py", "connected")(t), fmt.Sprintf("4:%d", first.port),
			fmt.Sprintf("4:%d", kept.port), fmt.Sprintf("6:%d", last.port))
		p = testenv.StartCommand(t, "connected", argv...)
		p.Connected = true
		echo := <-kept.conns
		go io.Copy(echo, echo)
		return p, <-first.conns, <-last.conns
	}
	started, a, b := start()
	p, _ := restore(t, started.Dump(t), flags...)
	wantDrawn(t, "restore", p, want)
	wantSilence(t, "restore", a, b)
	tried, a, b := start()
	wantTried(t, tried, flags, want)
	wantSilence(t, "try", a, b)
	dropClones(t, drop, first, last)
	dropRefuses(t, drop)
}

// Clones that drop all connections can be restored one after the other.
func dropClones(t *testing.T, drop func(...string) []string, first, last *echoing) {
	argv := append(interpreted("python3", "connected.py", "connected")(t), fmt.Sprintf("4:%d", first.port),
		fmt.Sprintf("6:%d", last.port))
	started := testenv.StartCommand(t, "connected", argv...)
	started.Connected = true
	im, a, b := started.Dump(t), <-first.conns, <-last.conns
	want := map[string]string{"0": dropped, "1": dropped}
	for _, parameters := range []string{"all", fmt.Sprintf("peer=*:%d,local=::1", first.port)} {
		p, _ := restore(t, im, drop(parameters)...)
		wantDrawn(t, parameters, p, want)
	}
	grafted := graftOnto(t, im, append(drop("all"), "--allow-skipped-stages")...)
	wantDrawn(t, "graft", grafted.RestoreCRIU(t, "--tcp-established"), want)
	wantSilence(t, "clones", a, b)
}

func wantSilence(t *testing.T, how string, ends ...net.Conn) {
	t.Helper()
	for _, c := range ends {
		if got := heard(t, c); got != "nothing" {
			t.Errorf("%s: the other end %v got %s", how, c.LocalAddr(), got)
		}
	}
}

func dropRefuses(t *testing.T, drop func(...string) []string) {
	im := testenv.StartCommand(t, "told", interpreted("python3", "told.py")(t)...).Dump(t)
	for parameters, says := range map[string]string{
		"all":                     "has no such connection",
		"peer=127.0.0.1:1":        "has no such connection",
		"local=2001:db8::1":       "has no such connection",
		"peer=[::ffff:7f00:1]:80": "has no such connection",
		"missing=ok":              "which connections? peer=ADDRESS:PORT, local=ADDRESS:PORT, or all",
		"all=no":                  "which connections?",
		"peer=127.0.0":            "peer=127.0.0: want an address, such as",
		"peer=127.0.0.256":        "want an address, such as",
		"peer=1.2.3.4:0":          "want an address, such as",
		"peer=1.2.3.4:65536":      "want an address, such as",
		"local=[::1":              "want an address, such as",
		"local=[::1]80":           "want an address, such as",
		"local=1:2:3:4:5:6:7":     "want an address, such as",
		"local=1::2::3":           "want an address, such as",
		"local=1:2:3:4:5:6:7:8:9": "want an address, such as",
		"local=::12345":           "want an address, such as",
	} {
		wantRefused(t, im, says, drop(parameters)...)
	}
	wantLeft(t, im, drop("all")...)
}

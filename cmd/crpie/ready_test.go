//go:build linux && amd64

package main

import (
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
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

// wantRefused: the restore fails, and says why.
func wantRefused(t *testing.T, im *testenv.Images, says string, flags ...string) {
	t.Helper()
	status, output := tool(t, im, append([]string{"restore", "-d", "-D", im.Dir}, flags...)...)
	if status != 1 || !strings.Contains(output, says) {
		t.Errorf("%v: status %d, want 1 and %q:\n%s", flags, status, says, output)
	}
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
	try := []string{"try", "-p", fmt.Sprint(tried.Pid)}
	for i := 1; i < len(flags); i += 2 {
		try = append(try, flags[i])
	}
	if status, _, stderr := apart(t, try...); status != 0 {
		t.Errorf("try: status %d: %s", status, stderr)
	}
	drew = append(drew, wantDrawn(t, "try", tried, want))
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
	if status, _, stderr := apart(t, "try", "-p", fmt.Sprint(tried.Pid), hostname("name=third")[1]); status != 0 {
		t.Errorf("try: status %d: %s", status, stderr)
	}
	wantDrawn(t, "try", tried, map[string]string{"hostname": "third"})
	wantRefused(t, im, "the name is longer than 64 bytes", hostname("name="+strings.Repeat("x", 65))...)
	shared := testenv.StartCommand(t, "told", interpreted("python3", "told.py")(t)...).Dump(t)
	wantRefused(t, shared, "the UTS namespace is the machine's", hostname("name=x")...)
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
	out := filepath.Join(t.TempDir(), "patched")
	cc := exec.Command(testenv.NeedTool(t, "cc", "gcc"), "-O2", "-Wall", "-fcf-protection=none", "-o", out,
		source("patched.c"))
	if msg, err := cc.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, msg)
	}
	patch := ready(t, "patch")
	flags := patch("symbol=limit,type=u32,old=100,new=5000",
		"symbol=endpoint,type=string,old=db-1,new=a-longer-name.x", "symbol=table,offset=1,old=0203,new=0B0c",
		"symbol=answer,old=b803000000c3,new=b807000000c3")
	want := map[string]string{"limit": "5000", "endpoint": "a-longer-name.x 15", "table": "1 11 12 4", "answer": "7"}
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

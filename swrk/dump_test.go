//go:build linux && amd64

package swrk

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/freezer"
	"github.com/crpie/crpie/internal/testenv"
)

// dump does what criu dump does with the cgroup: it freezes it, goes on when it could seize the process, and leaves the
// cgroup as it was.
func (s *seen) dump(opts *pb.CriuOpts) {
	c := freezer.Cgroup(opts.GetFreezeCgroup())
	s.WasFrozen = c.Frozen()
	_ = c.Freeze(testenv.Timeout)
	for end := time.Now().Add(testenv.Timeout); time.Now().Before(end); time.Sleep(time.Millisecond) {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", opts.GetPid()))
		if strings.Contains(string(text), "\nTracerPid:\t0\n") {
			break
		}
	}
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", opts.GetPid()))
	if s.Environ = string(text); !s.WasFrozen && os.Getenv(manner) != "dump-die" {
		_ = c.Thaw()
	}
}

// startDump asks for a dump of a process that goes on, in a cgroup.
func (r *runtime) startDump(kind pb.CriuReqType, pid int, c freezer.Cgroup) {
	r.t.Helper()
	opts := r.restoreOpts()
	opts.Pid, opts.LeaveRunning, opts.FreezeCgroup = pb.Int32(int32(pid)), pb.Bool(true), pb.String(string(c))
	r.start(request(r.t, kind, opts))
}

// letter is what plugin dumped has made of the variable LANG.
func letter(environ string) string {
	_, value, _ := strings.Cut(environ, "LANG=")
	value, _, _ = strings.Cut(value, "\x00")
	return value
}

func letterOf(t *testing.T, pid int) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		t.Fatal(err)
	}
	return letter(string(text))
}

// aroundDumps makes the directories of a test with plugin dumped configured.
func aroundDumps(t *testing.T, plugin, manner string) *runtime {
	t.Helper()
	return newRuntime(t, manner, "pie-plugin "+plugin+"\n")
}

func dumpedPlugin(t *testing.T) string {
	t.Helper()
	return testenv.Plugin(t, "testdata/plugins/dumped.c") + ",var=LANG"
}

// criu finds what the hooks before the dump have left, in a cgroup that is as it was; and what goes on after a dump,
// one that has failed, or a criu that has died, also one that has frozen it and not thawed, has run the others.
func TestHooksAroundADump(t *testing.T) {
	plugin := dumpedPlugin(t)
	for _, c := range []struct {
		manner          string
		frozen, success bool
		status          int
	}{{"dump", false, true, 0}, {"dump", true, true, 0}, {"dump-fail", false, false, 1}, {"die", false, false, 9},
		{"dump-refuse", false, false, 1}, {"dump-die", false, false, 9}, {"dump-die", true, false, 9}} {
		t.Run(fmt.Sprintf("%s/%v", c.manner, c.frozen), func(t *testing.T) {
			p := testenv.Start(t, "threads")
			dir := testenv.Freezable(t, p)
			if c.frozen {
				if err := dir.Freeze(testenv.Timeout); err != nil {
					t.Fatal(err)
				}
			}
			r := aroundDumps(t, plugin, c.manner)
			r.startDump(pb.CriuReqType_DUMP, p.Pid, dir)
			answer := r.agreeToAll()
			if status := r.status(); status != c.status || answer.GetSuccess() != c.success {
				t.Errorf("status %d, %v, %s", status, answer, &r.stderr)
			}
			got := strings.HasPrefix(c.manner, "dump") && c.manner != "dump-refuse"
			if s := r.seen(); got && (letter(s.Environ) != "d" || s.WasFrozen != c.frozen) {
				t.Errorf("criu saw %+v", s)
			}
			if got := letterOf(t, p.Pid); got != "r" || dir.Frozen() != c.frozen {
				t.Errorf("%s, frozen %v", got, dir.Frozen())
			}
			if err := dir.Thaw(); err != nil {
				t.Fatal(err)
			}
			p.MustPass(t)
		})
	}
}

// What cannot be done is refused before a hook has run; requests around which no hook runs are criu's, unread.
func TestDumpsThatAreRefused(t *testing.T) {
	plugin := dumpedPlugin(t)
	p := testenv.Start(t, "static")
	dir := testenv.Freezable(t, p)
	for _, c := range []struct{ rules, cgroup, want string }{
		{"", "", "names no cgroup that is frozen"}, {"", "/proc", "is no cgroup that can be frozen"},
		{"pie-task root\n", string(dir), "pie-task: only for grafts"}, {",nosuch=1", string(dir), "nosuch"},
	} {
		more, rules := "", c.rules
		if strings.HasPrefix(rules, ",") {
			more, rules = rules, ""
		}
		r := aroundDumps(t, plugin+more, "dump")
		r.write("containers.d/b.conf", rules)
		r.startDump(pb.CriuReqType_DUMP, p.Pid, freezer.Cgroup(c.cgroup))
		answer := r.agreeToAll()
		status := r.status()
		if status == 0 || answer.GetSuccess() || !strings.Contains(answer.GetCrErrmsg(), c.want) {
			t.Errorf("status %d, %v, %s; want %s", status, answer, &r.stderr, c.want)
		}
	}
	for kind, rules := range map[pb.CriuReqType]string{
		pb.CriuReqType_PRE_DUMP: "", pb.CriuReqType_DUMP: "restore-with criu\n",
	} {
		r := aroundDumps(t, plugin, "")
		r.write("containers.d/b.conf", rules)
		r.startDump(kind, p.Pid, dir)
		answer := r.agreeToAll()
		if status := r.status(); status != 0 || !answer.GetSuccess() || r.seen().Pid != r.cmd.Process.Pid {
			t.Errorf("%v: status %d, %v, %s", kind, status, answer, &r.stderr)
		}
	}
	if got := letterOf(t, p.Pid); got != "C" {
		t.Error(got)
	}
	p.MustPass(t)
}

// A runtime starts crpie with descriptors of its own: no line of a file has them read, or the request is lost.
func TestDescriptorsAreNotRead(t *testing.T) {
	plugin := testenv.Plugin(t, "testdata/plugins/dumped.c") + ",var=@fd:3"
	const want = "parameter var=@fd:3: a runtime starts crpie with descriptors of its own"
	for _, kind := range []pb.CriuReqType{pb.CriuReqType_RESTORE, pb.CriuReqType_DUMP} {
		r := newRuntime(t, "", "")
		r.write("runc.conf", "pie-plugin "+plugin+"\n")
		opts := r.restoreOpts()
		opts.ConfigFile = pb.String(r.path("runc.conf"))
		r.start(request(t, kind, opts))
		answer := r.agreeToAll()
		status := r.status()
		if status != 1 || answer.GetSuccess() || !strings.Contains(answer.GetCrErrmsg(), want) {
			t.Errorf("%v: status %d, %v, %s", kind, status, answer, &r.stderr)
		}
	}
}

// A plugin that has hooks around dumps alone takes no part in restores, which are criu's then, unread.
func TestPluginsThatTakeNoPart(t *testing.T) {
	only := testenv.Plugin(t, "testdata/plugins/dumped.c", "-DONLY_AROUND_DUMP") + ",var=LANG"
	for _, way := range []string{"auto", "graft", "criu"} {
		r := aroundDumps(t, only, "")
		r.write("containers.d/b.conf", "restore-with "+way+"\n")
		r.start(request(t, pb.CriuReqType_RESTORE, r.restoreOpts()))
		answer := r.agreeToAll()
		if status := r.status(); status != 0 || !answer.GetSuccess() || r.seen().Pid != r.cmd.Process.Pid {
			t.Errorf("%s: status %d, %v, %s", way, status, answer, &r.stderr)
		}
	}
	r := newRuntime(t, "", "") // criu must not see the lines of its file
	opts := r.restoreOpts()
	r.write("runc.conf", "tcp-close\nrestore-with graft\npie-plugin "+only+"\n")
	opts.ConfigFile = pb.String(r.path("runc.conf"))
	r.start(request(t, pb.CriuReqType_RESTORE, opts))
	answer := r.agreeToAll()
	status := r.status()
	if status != 0 || !answer.GetSuccess() || strings.TrimSpace(r.seen().Config) != "tcp-close" {
		t.Errorf("status %d, %v, %s, %+v", status, answer, &r.stderr, r.seen())
	}
}

// Without a hook before the dump nothing has to stand still until criu comes: the request need not name a cgroup.
func TestDumpWithoutACgroup(t *testing.T) {
	plugin := testenv.Plugin(t, "testdata/plugins/dumped.c", "-DONLY_RESUMED") + ",var=LANG"
	p := testenv.Start(t, "threads")
	r := aroundDumps(t, plugin, "")
	r.startDump(pb.CriuReqType_DUMP, p.Pid, "")
	answer := r.agreeToAll()
	if status := r.status(); status != 0 || !answer.GetSuccess() {
		t.Errorf("status %d, %v, %s", status, answer, &r.stderr)
	}
	if got := letterOf(t, p.Pid); got != "r" {
		t.Error(got)
	}
	p.MustPass(t)
}

package graft

import (
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/loadertest"
	"github.com/crpie/crpie/internal/seccomp"
	"github.com/crpie/crpie/loader"
)

// bpf makes a filter of struct sock_filter: code, jt, jf, k.
func bpf(code ...[4]uint32) []byte {
	var b []byte
	for _, i := range code {
		b = binary.LittleEndian.AppendUint16(b, uint16(i[0]))
		b = binary.LittleEndian.AppendUint32(append(b, byte(i[1]), byte(i[2])), i[3])
	}
	return b
}

// answering makes a filter with an answer to one system call, which permits all others.
func answering(nr uint32, a seccomp.Answer) []byte {
	return bpf([4]uint32{0x20}, [4]uint32{0x15, 0, 1, nr}, [4]uint32{6, 0, 0, uint32(a)},
		[4]uint32{6, 0, 0, uint32(seccomp.Allow)})
}

// filtered gives every thread of a sample the filter, but those that are left free.
func filtered(t *testing.T, name string, filter []byte, free func(thread int) bool) *images.Dir {
	t.Helper()
	d := open(t, sample(t, name))
	d.Seccomp = []*pb.SeccompFilter{{Filter: filter}}
	for i := range d.Tasks[0].Threads {
		tc := d.Tasks[0].Threads[i].Core.ThreadCore
		tc.SeccompMode, tc.SeccompFilter = pb.SeccompMode_filter.Enum(), pb.Uint32(0)
		if free != nil && free(i) {
			tc.SeccompMode, tc.SeccompFilter = nil, nil
		}
	}
	return d
}

const seccompHint = "\n  hint: use crpie restore, which holds filters back until the hooks are done; or, if this cannot come to pass, --allow-seccomp"

func TestSeccomp(t *testing.T) {
	deny := func(nr uint32, a seccomp.Answer) []byte { return answering(nr, a) }
	profile, err := os.ReadFile("../internal/seccomp/testdata/podman-default.bpf")
	if err != nil {
		t.Fatal(err)
	}
	openat := bpf([4]uint32{0x20}, [4]uint32{0x15, 0, 3, 257}, [4]uint32{0x20, 0, 0, 32},
		[4]uint32{0x45, 0, 1, 0x40},
		[4]uint32{6, 0, 0, 0x50000 | 13}, [4]uint32{6, 0, 0, 0x7fff0000}) // no O_CREAT
	for _, c := range []struct {
		name, sample string
		filter       []byte
		free         func(int) bool
		change       func(o *Options)
		want, notes  string
	}{
		{"another call", "glibc", deny(59, seccomp.KillProcess), nil, nil, "<nil>", ""},
		{"the default profile", "threads", profile, nil, nil, "<nil>", ""},
		{"logged", "glibc", deny(11, seccomp.Log), nil, nil, "<nil>", ""},
		{"killed", "glibc", deny(11, seccomp.KillThread), nil, nil,
			"cannot graft: task 18845 thread 18845: its seccomp filters deny the graft's core munmap: SECCOMP_RET_KILL_THREAD" + seccompHint, ""},
		{"killed, but allowed", "glibc", deny(11, seccomp.KillThread), nil, func(o *Options) {
			o.AllowSeccomp = true
		}, "<nil>",
			"task 18845 thread 18845: its seccomp filters deny the graft's core munmap: SECCOMP_RET_KILL_THREAD"},
		{"a watchdog", "glibc", deny(56, seccomp.Errno|1), nil, nil,
			"cannot graft: task 18845 thread 18845: its seccomp filters deny the graft's core clone: SECCOMP_RET_ERRNO (1)" + seccompHint, ""},
		{"no watchdog", "glibc", deny(56, seccomp.Errno|1), nil, func(o *Options) {
			o.HookTimeout = 0
		}, "<nil>", ""},
		{"many threads", "threads", deny(131, seccomp.Trap), nil, nil, "cannot graft, for 2 reasons:\n" +
			"task 18656 thread 18656: its seccomp filters deny the graft's core sigaltstack: SECCOMP_RET_TRAP" + seccompHint +
			"\ntask 18656 thread 18658 (and 31 more): its seccomp filters deny the graft's core sigaltstack: SECCOMP_RET_TRAP" + seccompHint, ""},
		{"one thread of many", "threads", deny(131, seccomp.UserNotif), func(i int) bool { return i != 7 }, nil,
			"cannot graft: task 18656 thread 18664: its seccomp filters deny the graft's core sigaltstack: SECCOMP_RET_USER_NOTIF" + seccompHint, ""},
		{"a call of the leader", "threads", deny(13, seccomp.KillProcess), func(i int) bool {
			return i == 0
		}, nil, "<nil>", ""},
		{"done without", "glibc", deny(319, seccomp.Errno|38), nil, nil, "<nil>",
			"task 18845 thread 18845: its seccomp filters answer " +
				"memfd_create: SECCOMP_RET_ERRNO (38), so the pages that stay have no name in /proc/PID/maps"},
		{"not done without", "glibc", deny(319, seccomp.KillProcess), nil, nil,
			"cannot graft: task 18845 thread 18845: its seccomp filters deny the graft's core memfd_create: SECCOMP_RET_KILL_PROCESS" + seccompHint, ""},
		{"by argument, not asked", "glibc", openat, nil, nil, "<nil>", ""},
		{"by argument", "glibc", openat, nil, func(o *Options) {
			o.LogFile = "/log"
		}, "<nil>", "task 18845 thread 18845: its seccomp filters answer " +
			"openat: SECCOMP_RET_ERRNO (13), so lines of plugins and of the core are missing"},
		{"not a filter", "glibc", bpf([4]uint32{0x20}), nil, nil,
			"cannot graft: task 18845 thread 18845: seccomp filter 0: instruction 0: the last one does not return", ""},
		{"not a filter, but allowed", "glibc", bpf([4]uint32{0x20}), nil, func(o *Options) {
			o.AllowSeccomp = true
		},
			"cannot graft: task 18845 thread 18845: seccomp filter 0: instruction 0: the last one does not return", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			opts := options(t)
			opts.HookTimeout = 1e9
			if c.change != nil {
				c.change(opts)
			}
			plan, err := New(filtered(t, c.sample, c.filter, c.free), opts)
			if fmt.Sprint(err) != c.want {
				t.Fatalf("got:\n%v\nwant:\n%s", err, c.want)
			}
			if err == nil && strings.Join(plan.Notes, "\n") != c.notes {
				t.Errorf("notes:\n%s\nwant:\n%s", strings.Join(plan.Notes, "\n"), c.notes)
			}
		})
	}
}

// Each call of the core, denied by killing, is refused by its name.
func TestSeccompDeniesEachCall(t *testing.T) {
	for _, call := range coreCalls() {
		opts := options(t)
		opts.HookTimeout, opts.LogFile = 1e9, "/log"
		_, err := New(filtered(t, "glibc", answering(call.nr, seccomp.KillProcess), nil), opts)
		if call.when == nil && !strings.Contains(fmt.Sprint(err),
			"deny the graft's core "+call.name+": SECCOMP_RET_KILL_PROCESS") {
			t.Errorf("%s: %v", call.name, err)
		}
	}
}

// coreCalls, the sources of the core and the manual name the same system calls.
func TestCoreCallsAgreeWithTheCore(t *testing.T) {
	listed, made, told := map[string]bool{}, map[string]bool{}, map[string]bool{}
	source := "#include <asm/unistd.h>\n#include <asm/fcntl.h>\n#include <linux/sched.h>\n" +
		fmt.Sprintf("_Static_assert((O_WRONLY|O_APPEND|O_CLOEXEC|O_NONBLOCK|O_NOCTTY) == %d, \"\");\n", openLog) +
		fmt.Sprintf("_Static_assert((CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD|CLONE_SYSVSEM|CLONE_PARENT_SETTID|"+
			"CLONE_CHILD_CLEARTID) == %d, \"\");\n", cloneWatchdog)
	for _, c := range coreCalls() {
		listed[c.name] = true
		source += fmt.Sprintf("_Static_assert(__NR_%s == %d, \"\");\n", c.name, c.nr)
	}
	cmd := exec.Command("gcc", "-fsyntax-only", "-xc", "-")
	cmd.Stdin = strings.NewReader(source)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, pattern := range []string{"core/src/*.c", "core/src/*.S", "../restorer/core/src/settime.c"} {
		paths, _ := filepath.Glob(pattern)
		for _, path := range paths {
			for _, m := range regexp.MustCompile(`__NR_(\w+)`).FindAllStringSubmatch(read(t, path), -1) {
				made[m[1]] = true
			}
		}
	}
	_, list, _ := strings.Cut(read(t, "../docs/graft.md"), "\nSystem calls of the core: ")
	list, _, _ = strings.Cut(list, ".\n")
	for _, name := range strings.Split(strings.ReplaceAll(list, "\n", " "), ", ") {
		told[name] = true
	}
	if !maps.Equal(listed, made) || !maps.Equal(listed, told) {
		names := func(m map[string]bool) string { return strings.Join(slices.Sorted(maps.Keys(m)), " ") }
		t.Errorf("coreCalls: %s\ncore/src:  %s\ngraft.md:  %s", names(listed), names(made), names(told))
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// calling is a plugin that makes system calls at a stage.
func calling(t *testing.T, stage string, code string) Plugin {
	t.Helper()
	p := loadertest.MustLoad(t, compiler, ".c", fmt.Sprintf(`#include <crpie/plugin.h>
#include <crpie/syscall.h>
CR_PLUGIN_REGISTER_DUMMY("caller")
static int called(struct crpie_ctx *ctx) { return (int)(%s) + ctx->pid < 0; }
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_%s, called)
`, code, stage), loader.Options{})
	return Plugin{Input: blob.Input{Plugin: p}, SHA256: "00"}
}

// The calls that plugins declare are asked about in the threads in which their hooks run.
func TestSeccompOfPlugins(t *testing.T) {
	const getrandom, socket = 318, 41
	profile, err := os.ReadFile("../internal/seccomp/testdata/podman-default.bpf")
	if err != nil {
		t.Fatal(err)
	}
	// socket of AF_VSOCK fails
	family := bpf([4]uint32{0x20}, [4]uint32{0x15, 0, 3, socket}, [4]uint32{0x20, 0, 0, 16},
		[4]uint32{0x15, 0, 1, 40}, [4]uint32{6, 0, 0, 0x50000 | 22}, [4]uint32{6, 0, 0, 0x7fff0000})
	random := answering(getrandom, seccomp.Errno|1)
	denies := func(thread string) string {
		return "task 18656 thread " + thread + ": its seccomp filters deny plugin caller getrandom: SECCOMP_RET_ERRNO (1)"
	}
	for _, c := range []struct {
		name, stage, code string
		filter            []byte
		change            func(*Options)
		want, notes       string
	}{
		{"the default profile", "PRE_SIGRETURN", "sys_getrandom(0, 0, 0) + sys_openat(-100, 0, 0, 0)", profile, nil,
			"<nil>", ""},
		{"none of its calls", "PRE_SIGRETURN", "sys_getpid()", random, nil, "<nil>", ""},
		{"denied to the leader", "PRE_SIGRETURN", "sys_getrandom(0, 0, 0)", random, nil,
			"cannot graft: " + denies("18656") + seccompHint, ""},
		{"denied to all", "PRE_SIGRETURN_THREAD", "sys_getrandom(0, 0, 0)", random, nil,
			"cannot graft, for 2 reasons:\n" + denies("18656") + seccompHint + "\n" + denies("18658 (and 31 more)") +
				seccompHint, ""},
		{"denied, but allowed", "PRE_SIGRETURN", "sys_getrandom(0, 0, 0)", random,
			func(o *Options) { o.AllowSeccomp = true }, "<nil>", denies("18656")},
		{"by arguments", "PRE_SIGRETURN", "sys_socket(2, 1, 0)", family, nil, "<nil>",
			"task 18656 thread 18656: its seccomp filters permit plugin caller some calls by their arguments only, and " +
				"may answer socket: SECCOMP_RET_ERRNO (22)"},
		{"computed", "PRE_SIGRETURN", "CRPIE_SYS0(ctx->tid)", random, nil, "<nil>",
			"plugin caller computes numbers of system calls: whether the tasks' seccomp filters permit them is not known"},
		{"one of two silent", "PRE_SIGRETURN", "sys_getpid() + crpie_syscall(39, 0, 0, 0, 0, 0, 0)", random, nil, "<nil>",
			"plugin caller makes system calls that its object does not name: " +
				"whether the tasks' seccomp filters permit them is not known"},
		{"silent", "PRE_SIGRETURN", "crpie_syscall(39, 0, 0, 0, 0, 0, 0)", random, nil, "<nil>",
			"plugin caller makes system calls that its object does not name: " +
				"whether the tasks' seccomp filters permit them is not known"},
	} {
		t.Run(c.name, func(t *testing.T) {
			opts := options(t)
			opts.Plugins = []Plugin{calling(t, c.stage, c.code)}
			if c.change != nil {
				c.change(opts)
			}
			plan, err := New(filtered(t, "threads", c.filter, nil), opts)
			if fmt.Sprint(err) != c.want {
				t.Fatalf("got:\n%v\nwant:\n%s", err, c.want)
			}
			if err == nil && strings.Join(plan.Notes, "\n") != c.notes {
				t.Errorf("notes:\n%s\nwant:\n%s", strings.Join(plan.Notes, "\n"), c.notes)
			}
		})
	}
}

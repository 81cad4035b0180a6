//go:build linux && amd64

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// wantHooks wants what a program prints of its hooks.
func wantHooks(t *testing.T, p *testenv.Process, want string) {
	t.Helper()
	p.MustPass(t)
	if out := p.Output(); !strings.Contains(out, want) {
		t.Errorf("%q is not in\n%s", want, out)
	}
}

// A program's own hooks run in the order of their priorities, in the leader and in each thread, if that is asked for.
func TestResidentHooks(t *testing.T) {
	im := testenv.Start(t, "resident").Dump(t)
	for _, flag := range []string{"--resident-hooks", "--resident-hooks=require", "--resident-hooks=resident"} {
		p, output := restore(t, im, "-v3", flag)
		wantHooks(t, p, "\nhooks 2: 1 2, of threads 3\n")
		if strings.Count(output, "resident:resident: PIE_RST_PRE_SIGRETURN: resident hook") != 2 {
			t.Errorf("%s: %s", flag, output)
		}
	}
	p, _ := restore(t, im)
	wantHooks(t, p, "\nhooks 0: 0 0, of threads 0\n")
	if status, output := told(t, "inspect", "-D", im.Dir); status != 0 ||
		!regexp.MustCompile(`PIE_RST_PRE_SIGRETURN +-5 +0x[0-9a-f]+ +first +resident\n`).MatchString(output) {
		t.Errorf("status %d, %s", status, output)
	}
	if status, output := told(t, "inspect", "-f", "json", "-D", im.Dir); status != 0 ||
		!strings.Contains(output, `"function": "of_thread"`) {
		t.Errorf("status %d, %s", status, output)
	}
	status, output := tool(
		t,
		im,
		"restore",
		"--dry-run",
		"-D",
		im.Dir,
		"--resident-hooks",
		"--pie-plugin",
		trace(t),
	)
	for _, want := range []string{"hooks PIE_RST_PRE_SIGRETURN_THREAD: trace, resident:resident\n",
		"hooks PIE_RST_PRE_SIGRETURN: trace, resident:resident\n", "hooks PIE_RST_POST_FILES: trace\n"} {
		if status != 0 || !strings.Contains(output, want) {
			t.Errorf("status %d, %q is not in\n%s", status, want, output)
		}
	}
	p, _ = restore(t, im, "--resident-hooks", "--pie-plugin", trace(t))
	wantHooks(t, p, "\nhooks 2: 1 2, of threads 3\n")
}

// A hook that fails undoes the restore like a plugin's, and is named.
func TestResidentHooksThatFail(t *testing.T) {
	for mode, want := range map[string]string{
		"fail":  `plugin resident:resident, hook PIE_RST_PRE_SIGRETURN, thread \d+: second: returned -5 \(EIO\)`,
		"crash": `plugin resident:resident, hook PIE_RST_PRE_SIGRETURN, thread \d+: .*: crashed with SIGSEGV at address 0x8`,
	} {
		mustFail(t, testenv.Start(t, "resident", mode).Dump(t), want, "--resident-hooks")
	}
	p, _ := restore(t, testenv.Start(t, "resident", "notsup").Dump(t), "--resident-hooks")
	wantHooks(t, p, "\nhooks 1: 1 0, of threads 3\n")
}

// damagedArrays has what the resident victim does to its array, and what is said of it.
var damagedArrays = map[string]string{
	"size":     `record 1 at byte 32 has size 24 with 96 left`,
	"long":     `record 1 at byte 32 has size 1048576 with 96 left`,
	"abi":      `record 1: it needs version 2; this crpie has version 1`,
	"stage":    `record 1: its stage is 0x101; resident hooks run at PIE_RST_PRE_SIGRETURN and`,
	"data":     `record 1: its function 0x[0-9a-f]+ is not in code of that file`,
	"other":    `record 1: its function 0x[0-9a-f]+ is not in code of that file`,
	"null":     `record 1: its function 0x0 is not in code of that file`,
	"reserved": `record 1: its reserved member is 0x1, not 0`,
	"half":     `record 1: its stage is 0x78787878`,
}

// Of an array that is damaged anywhere nothing runs: with auto that is said, otherwise nothing is restored.
func TestDamagedResidentHooks(t *testing.T) {
	for mode, want := range damagedArrays {
		im := testenv.Start(t, "resident", mode).Dump(t)
		mustFail(
			t,
			im,
			`task \d+: resident hooks: criu_hooks of /.*/resident: `+want,
			"--resident-hooks=require",
		)
		if _, output := told(t, "inspect", "-D", im.Dir); !strings.Contains(
			output,
			"resident hooks, damaged: criu_hooks of /",
		) {
			t.Error(output)
		}
		grafted := filepath.Join(t.TempDir(), "grafted")
		for which, what := range map[string]string{"require": `task \d+: resident hooks: criu_hooks of /.*/resident: ` + want,
			"auto": "none carries hooks itself"} {
			status, output := told(t, "graft", "-D", im.Dir, "-o", grafted, "--resident-hooks="+which)
			if status != exitFailed || !regexp.MustCompile(what).MatchString(output) {
				t.Errorf("graft %s, %s: status %d, %s", mode, which, status, output)
			}
		}
		p, output := restore(t, im, "--resident-hooks")
		wantHooks(t, p, "\nhooks 0: 0 0, of threads 0\n")
		if !strings.Contains(output, ": none of its resident hooks runs: criu_hooks of /") {
			t.Errorf("%s: %s", mode, output)
		}
	}
	for _, im := range []*testenv.Images{testenv.Start(t, "resident", "empty").Dump(t), testenv.Start(t, "static").Dump(t)} {
		mustFail(t, im, `no file that a task maps exports an array criu_hooks`, "--resident-hooks=require")
		mustFail(t, im, `no file that a task maps exports an array criu_hooks`, "--resident-hooks=libc.so.6")
		p, output := restore(t, im, "-v3", "--resident-hooks=auto")
		p.MustPass(t)
		if !strings.Contains(output, "resident hooks: no task has any") {
			t.Error(output)
		}
	}
}

// A program that has a seccomp filter gets no code run while that is suspended, and its hooks run where it is in force.
func TestResidentHooksBehindAFilter(t *testing.T) {
	const want = "the task has seccomp filters, which are suspended while hooks run"
	victim := testenv.Start(t, "resident", "filter")
	pid := strconv.Itoa(victim.Pid)
	if status, _, output := apart(t, "try", "-p", pid, "--resident-hooks=require"); status != exitFailed ||
		!strings.Contains(output, want) {
		t.Errorf("status %d, %s", status, output)
	}
	if status, _, output := apart(t, "try", "-p", pid, "--resident-hooks"); status != 0 ||
		!strings.Contains(output, "none of its resident hooks runs: "+want) {
		t.Errorf("status %d, %s", status, output)
	}
	im := victim.Dump(t)
	for _, which := range []string{"require", "resident"} {
		mustFail(t, im, `task \d+: resident hooks: `+want, "--resident-hooks="+which)
	}
	p, output := restore(t, im, "--resident-hooks")
	wantHooks(t, p, "\nhooks 0: 0 0, of threads 0\n")
	if !strings.Contains(output, ": none of its resident hooks runs: "+want) {
		t.Error(output)
	}
	wantHooks(t, graftOnto(t, im, "--resident-hooks").RestoreCRIU(t), "\nhooks 2: 1 2, of threads 3\n")
}

// sdkExample is a file of the examples for resident hooks.
func sdkExample(name string) string {
	return filepath.Join(testenv.Root(), "plugin-sdk", "examples", "resident", name)
}

// built runs a compiler and gives its product, which the words call OUT.
func built(t *testing.T, product string, words ...string) string {
	t.Helper()
	product = filepath.Join(t.TempDir(), product)
	words[slices.Index(words, "OUT")] = product
	cmd := exec.Command(testenv.NeedTool(t, words[0]), words[1:]...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1", "CGO_LDFLAGS_ALLOW=.*",
		"CGO_CFLAGS=-I"+filepath.Join(testenv.Root(), "plugin-sdk", "include"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", words, err, out)
	}
	return product
}

func generationLibrary(t *testing.T) string {
	return built(t, "libgeneration.so", "gcc", "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-I",
		filepath.Join(testenv.Root(), "plugin-sdk", "include"), sdkExample("generation.c"), "-o", "OUT")
}

// unprepared is a program that knows signals only.
const unprepared = `import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGUSR2})
print("READY", os.getpid(), flush=True)
signal.sigwait({signal.SIGUSR2})
print("generation 1")
signal.sigwait({signal.SIGUSR1})
print("PASS")`

// A library that an unprepared program was started with, one that Python has loaded, and a Go program by cgo: in a
// process that lives, in a restore, and by criu from a graft.
func TestResidentHooksOfLanguages(t *testing.T) {
	library := generationLibrary(t)
	for name, c := range map[string]struct {
		words   []string
		library string
	}{
		"preloaded": {[]string{"env", "LD_PRELOAD=" + library, "GENERATION_SIGNAL=12", "/usr/bin/python3", "-c",
			unprepared}, "libgeneration.so"},
		"python": {[]string{"/usr/bin/python3", sdkExample("app.py"), library}, "libgeneration.so"},
		"go":     {[]string{built(t, "app", "go", "build", "-o", "OUT", sdkExample("app.go"))}, "app"},
	} {
		t.Run(name, func(t *testing.T) {
			live := testenv.StartCommand(t, name, c.words...)
			status, _, output := apart(t, "try", "-p", strconv.Itoa(live.Pid), "--resident-hooks="+c.library)
			if status != 0 {
				t.Errorf("try: status %d, %s", status, output)
			}
			wantHooks(t, live, "\ngeneration 1\n")
			im := testenv.StartCommand(t, name, c.words...).Dump(t)
			wantHooks(t, graftOnto(t, im, "--resident-hooks=require").RestoreCRIU(t), "\ngeneration 1\n")
			for _, which := range []string{"auto", c.library} {
				p, _ := restore(t, im, "--resident-hooks="+which)
				wantHooks(t, p, "\ngeneration 1\n")
			}
		})
	}
}

// They run in a process that lives, too, in a copy of it and in a program that is started; alone or beside plugins.
func TestResidentHooksOfATry(t *testing.T) {
	p := testenv.Start(t, "resident")
	pid := strconv.Itoa(p.Pid)
	for threads, args := range map[int][]string{
		1: {"--rehearse", "--resident-hooks"}, // a copy has one
		3: {"--resident-hooks=require", trace(t)},
	} {
		status, _, output := apart(t, append([]string{"try", "-v3", "-p", pid}, args...)...)
		if status != 0 || strings.Count(output, "resident:resident: PIE_RST_PRE_SIGRETURN: resident hook") != 2 ||
			strings.Count(output, "resident:resident: hook PIE_RST_PRE_SIGRETURN_THREAD") != threads {
			t.Errorf("%q: status %d, %s", args, status, output)
		}
	}
	wantHooks(t, p, "\nhooks 2: 1 2, of threads 3\n")
	status, _, output := apart(t, "try", "--resident-hooks=libc.so.6", "--", "/bin/true")
	if status != exitFailed || !strings.Contains(output, "no file that it maps exports an array criu_hooks") {
		t.Errorf("status %d, %s", status, output)
	}
	status, _, output = apart(t, "try", "--resident-hooks", "--", "/bin/true")
	if status != 0 || !strings.Contains(output, "note: resident hooks: it has none\n") {
		t.Errorf("status %d, %s", status, output)
	}
}

// Of a damaged array nothing runs there either, and a hook that fails is named.
func TestDamagedResidentHooksOfATry(t *testing.T) {
	for mode, want := range damagedArrays {
		p := testenv.Start(t, "resident", mode)
		pid := strconv.Itoa(p.Pid)
		status, _, output := apart(t, "try", "-p", pid, "--resident-hooks=require")
		if status != exitFailed ||
			!regexp.MustCompile(`resident hooks: criu_hooks of /.*/resident: `+want).MatchString(output) {
			t.Errorf("%s: status %d, %s", mode, status, output)
		}
		status, _, output = apart(t, "try", "-p", pid, "--resident-hooks")
		if status != 0 || !strings.Contains(output, "note: none of its resident hooks runs: criu_hooks of /") {
			t.Errorf("%s: status %d, %s", mode, status, output)
		}
		wantHooks(t, p, "\nhooks 0: 0 0, of threads 0\n")
	}
	p := testenv.Start(t, "resident", "fail")
	status, _, output := apart(t, "try", "-p", strconv.Itoa(p.Pid), "--resident-hooks")
	if status != exitFailed || !strings.Contains(output, "resident:resident, hook PIE_RST_PRE_SIGRETURN") ||
		!strings.Contains(output, "second: returned -5 (EIO)") {
		t.Errorf("status %d, %s", status, output)
	}
	p.MustPass(t)
}

// An array has up to 64 records, and may end with one of zeros.
func TestCountOfResidentHooks(t *testing.T) {
	for n, want := range map[int]string{1: "", 64: "", 65: "it has more than 64 records", 66: "it has 2144 bytes"} {
		source := filepath.Join(t.TempDir(), "many.c")
		text := "#include <crpie/resident.h>\nvolatile unsigned long crpie_generation;\n" +
			"static int f(struct crpie_ctx *c) { (void)c; crpie_generation++; return 0; }\nCRIU_HOOKS = {\n" +
			strings.Repeat("CRIU_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, f),\n", n)
		if n != 65 {
			text += "CRIU_HOOKS_END"
		}
		if err := os.WriteFile(source, []byte(text+"};\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		library := built(t, "libmany.so", "gcc", "-shared", "-fPIC", "-O2", "-I",
			filepath.Join(testenv.Root(), "plugin-sdk", "include"), source, "-o", "OUT")
		im := testenv.StartCommand(t, "python", "/usr/bin/python3", sdkExample("app.py"), library).Dump(t)
		if want != "" {
			mustFail(t, im, want, "--resident-hooks=libmany.so")
			continue
		}
		p, _ := restore(t, im, "--resident-hooks=libmany.so", "--pie-plugin", trace(t))
		wantHooks(t, p, fmt.Sprintf("\ngeneration %d\n", n))
	}
}

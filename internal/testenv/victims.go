//go:build linux

package testenv

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A recipe says how a victim of testdata/victims is built and started.
type recipe struct {
	name    string
	sources []string // patterns below testdata/victims; the first match is the one that is compiled or interpreted
	flags   []string // for the compiler
	how     func(tb testing.TB, r recipe) []string
}

var recipes = []recipe{
	{"static", []string{"static.c", "victim.h"}, []string{"-static"}, compileC},
	{"glibc", []string{"glibc/*.c", "glibc/*.h", "victim.h"}, []string{"-lm"}, compileC},
	{"threads", []string{"threads.c", "victim.h"}, []string{"-pthread"}, compileC},
	{"restless", []string{"restless.c", "victim.h"}, []string{"-pthread"}, compileC},
	{"timers", []string{"timers.c", "victim.h"}, []string{"-pthread"}, compileC},
	{"golang", []string{"golang/main.go"}, nil, compileGo},
	{"vgetrandom", []string{"vgetrandom.c", "victim.h"}, []string{"-pthread"}, compileC},
	{"glibcrandom", []string{"glibcrandom.c", "victim.h"}, []string{"-pthread"}, underNewGlibc},
	{"gorandom", []string{"gorandom/main.go"}, nil, compileGo},
	{"gorandom-stripped", []string{"gorandom/main.go"}, []string{"-ldflags=-s -w"}, compileGo},
	{"python", []string{"python.py"}, nil, interpreter("/usr/bin/python3", "python3")},
	{"perl", []string{"perl.pl"}, nil, interpreter("/usr/bin/perl", "perl")},
	{"bash", []string{"bash.sh"}, nil, interpreter("/bin/bash", "bash")},
	{"pipeline", []string{"pipeline.sh"}, nil, interpreter("/bin/bash", "bash")},
	{"avx", []string{"avx.c", "victim.h"}, nil, compileC},
	{"seccomp", []string{"seccomp.c", "victim.h"}, nil, compileC},
	{"tree", []string{"tree.c", "victim.h"}, nil, compileC},
	{"stopped", []string{"stopped.c", "victim.h"}, nil, compileC},
	{"memfd", []string{"memfd.c", "victim.h"}, nil, compileC},
	{"deleted", []string{"deleted.c", "victim.h"}, nil, compileC},
	{"fifo", []string{"fifo.c", "victim.h"}, nil, compileC},
	{"lent", []string{"lent.c", "victim.h"}, []string{"-pthread"}, compileC},
	{"owners", []string{"owners.c", "victim.h"}, nil, compileC},
	{"locks", []string{"locks.c", "victim.h"}, nil, compileC},
	{"sessions", []string{"sessions.c", "victim.h"}, nil, compileC},
	{"forest", []string{"forest.c", "victim.h"}, nil, compileC},
	{"perthread", []string{"perthread.c", "victim.h"}, []string{"-pthread"}, compileC},
	{"timens", []string{"timens.c", "victim.h"}, nil, compileC},
	{"errno", []string{"errno.c", "victim.h"}, []string{"-pthread"}, compileC},
	{"trapped", []string{"trapped.c", "victim.h"}, nil, compileC},
	{"uts", []string{"uts.c", "victim.h"}, nil, compileC},
	{"mounts", []string{"mounts.c", "victim.h"}, nil, compileC},
	{"cgroups", []string{"cgroups.c", "victim.h"}, []string{"-pthread"}, compileC},
	{"clonefiles", []string{"clonefiles.c", "victim.h"}, nil, compileC},
	{"sharing", []string{"sharing.c", "victim.h"}, []string{"-pthread"}, compileC},
	{"reserve", []string{"reserve.c", "victim.h"}, nil, compileC},
	{"limits", []string{"limits.c", "victim.h"}, nil, compileC},
	{"high", []string{"high.c", "victim.h"}, nil, compileC},
	{"vdso", []string{"vdso.c", "victim.h"}, nil, compileC},
	{"mappings", []string{"mappings.c", "victim.h"}, nil, compileC},
	{"aio", []string{"aio.c", "victim.h"}, nil, compileC},
	{"huge", []string{"huge.c", "victim.h"}, nil, compileC},
	{"unix", []string{"unix.c", "victim.h"}, nil, compileC},
	{"inflight", []string{"inflight.c", "victim.h"}, nil, compileC},
	{"tcp", []string{"tcp.c", "victim.h"}, nil, compileC},
	{"names", []string{"names.c", "victim.h"}, nil, compileC},
	{"sockets", []string{"sockets.c", "victim.h"}, nil, compileC},
	{"netlink", []string{"netlink.c", "victim.h"}, nil, compileC},
	{"raw", []string{"raw.c", "victim.h"}, nil, compileC},
	{"packet", []string{"packet.c", "victim.h"}, nil, compileC},
	{"inet", []string{"inet.c", "victim.h"}, nil, compileC},
	{"ipc", []string{"ipc.c", "victim.h"}, nil, compileC},
	{"notify", []string{"notify.c", "victim.h"}, nil, compileC},
	{"events", []string{"events.c", "victim.h"}, nil, compileC},
	{"specials", []string{"specials.c", "victim.h"}, nil, compileC},
	{"ended", []string{"ended.c", "victim.h"}, nil, compileC},
	{"inherit", []string{"inherit.c", "victim.h"}, nil, compileC},
	{"pidfds", []string{"pidfds.c", "victim.h"}, nil, compileC},
	{"ptys", []string{"ptys.c", "victim.h"}, nil, compileC},
	{"signals", []string{"signals.c", "victim.h"}, nil, compileC},
	{"crowd", []string{"crowd.c", "victim.h"}, nil, compileC},
	{"resident", []string{"resident.c", "victim.h", "../../plugin-sdk/include/crpie/resident.h"},
		[]string{"-pthread", "-rdynamic"}, withSDK},
	{"imports", []string{"imports.c", "victim.h"}, nil, compileC},
	{"bare", []string{"bare.c", "victim.h"}, nil, compileC},
	{"workers", []string{"workers.c", "victim.h"}, nil, compileC},
	{"guards", []string{"guards.c", "victim.h"}, nil, compileC},
	{"gone", []string{"gone.c", "victim.h"}, nil, compileC},
	{"ports", []string{"ports.c", "victim.h"}, nil, compileC},
	{"ping", []string{"ping.c", "victim.h"}, nil, compileC},
	{"census", []string{"census/*.c", "census/*.h", "victim.h"}, []string{"-pthread"}, compileC},
	{"gigabyte", []string{"gigabyte.c", "victim.h"}, nil, compileC},
}

// newVictims are those that CRIU 4.1 cannot dump. Start has them dumped by the newest one.
var newVictims = []string{"guards", "ping"}

// Victims names all of them, the quickest first and the gigabyte last, but for the forest, of which no two are alike
// and not all can be restored, the census, which lists what nobody brings back, and restless, which minds the dump.
func Victims() []string {
	var names []string
	for _, r := range recipes {
		if r.name != "forest" && r.name != "census" && r.name != "restless" {
			names = append(names, r.name)
		}
	}
	return names
}

// EachDump runs a subtest for each victim and each CRIU that can dump it.
func EachDump(t *testing.T, do func(t *testing.T, name string, release Release)) {
	for _, release := range Releases() {
		NeedRelease(t, release)
		for _, name := range Victims() {
			if release == Newest || !slices.Contains(newVictims, name) {
				t.Run(name+release.Tag(), func(t *testing.T) { do(t, name, release) })
			}
		}
	}
}

// ControlArgs are arguments that keep a victim to what criu restore brings back as it was.
func ControlArgs(name string) []string {
	switch name {
	case "gigabyte":
		return []string{"32"}
	case "sessions":
		return []string{"fewer"}
	case "cgroups", "events", "glibcrandom", "gone", "guards", "limits", "locks", "notify", "ping", "ptys", "raw",
		"timers", "vgetrandom":
		return []string{"plain"}
	}
	return nil
}

// Victim builds the victim, unless that has been done, and returns the words that start it.
func Victim(tb testing.TB, name string) []string {
	tb.Helper()
	i := slices.IndexFunc(recipes, func(r recipe) bool { return r.name == name })
	if i < 0 {
		tb.Fatalf("no victim is called %s", name)
	}
	return recipes[i].how(tb, recipes[i])
}

// files lists the sources by pattern, in the order of the patterns: the first file is the one to start from.
func (r recipe) files(tb testing.TB) []string {
	tb.Helper()
	var files []string
	for _, pattern := range r.sources {
		matches, err := filepath.Glob(filepath.Join(Root(), "testdata", "victims", pattern))
		if err != nil || len(matches) == 0 {
			tb.Fatalf("victim %s: no file matches %s", r.name, pattern)
		}
		files = append(files, matches...)
	}
	return files
}

// cached runs build unless its product, named after a digest of the sources and flags, is there already. Two test
// binaries may build at once: the first product stays, since it may be running when the second one is complete.
func (r recipe) cached(tb testing.TB, build func(out string, files []string) *exec.Cmd) []string {
	tb.Helper()
	files, digest := r.files(tb), sha256.New()
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		fmt.Fprintf(digest, "%s %d\n%s", filepath.Base(file), len(data), data)
	}
	fmt.Fprint(digest, r.flags)
	dir := filepath.Join(Root(), ".cache", "victims", fmt.Sprintf("%x", digest.Sum(nil)[:6]))
	product := filepath.Join(dir, r.name)
	if _, err := os.Stat(product); err == nil {
		return []string{product}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	fresh := product + "." + rand.Text() // pids repeat in each namespace
	defer os.Remove(fresh)
	if err := run(build(fresh, files), ""); err != nil {
		tb.Fatalf("victim %s: %v", r.name, err)
	}
	if err := os.Link(fresh, product); err != nil && !errors.Is(err, fs.ErrExist) {
		tb.Fatal(err)
	}
	return []string{product}
}

// compileC compiles the sources of a recipe. Headers are among its files because the product's name has a digest of
// all.
func compileC(tb testing.TB, r recipe) []string {
	cc := NeedTool(tb, "cc", "gcc")
	return r.cached(tb, func(out string, files []string) *exec.Cmd {
		args := []string{"-O2", "-g", "-Wall", "-Wextra", "-Werror", "-o", out}
		for _, file := range files {
			if strings.HasSuffix(file, ".c") {
				args = append(args, file)
			}
		}
		return command(tb, cc, append(args, r.flags...)...)
	})
}

// withSDK compiles a program that includes headers of the SDK.
func withSDK(tb testing.TB, r recipe) []string {
	r.flags = append([]string{"-I", filepath.Join(Root(), "plugin-sdk", "include")}, r.flags...)
	return compileC(tb, r)
}

func compileGo(tb testing.TB, r recipe) []string {
	tool := NeedTool(tb, "go")
	return r.cached(tb, func(out string, files []string) *exec.Cmd {
		cmd := command(tb, tool, append(append([]string{"build"}, r.flags...), "-o", out, files[0])...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		return cmd
	})
}

// interpreter prefers a fixed path: the first one in $PATH may be a script that starts the real one.
// underNewGlibc starts a program with the C library that has come with CRIU, glibc 2.41. It has a copy of
// the loader: CRIU cannot restore a process whose executable is its own, prctl(2) PR_SET_MM_EXE_FILE.
func underNewGlibc(tb testing.TB, r recipe) []string {
	loader, ok := NeedCRIU(tb).loader()
	Need(tb, ok, "a new glibc: it comes with the CRIU that scripts/get-criu fetches")
	program := compileC(tb, r)
	own := program[0] + ".ld"
	if err := exec.Command("cp", "--remove-destination", loader[0], own).Run(); err != nil {
		tb.Fatal(err)
	}
	return append(append([]string{own}, loader[1:]...), program...)
}

func interpreter(path, name string) func(testing.TB, recipe) []string {
	return func(tb testing.TB, r recipe) []string {
		return []string{NeedTool(tb, path, name), r.files(tb)[0]}
	}
}

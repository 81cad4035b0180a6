//go:build linux

package testenv

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A program is a real one that does what it is made for while it is dumped: it is started by a driver of
// testdata/programs, which is dumped with it, gives it work, and afterwards counts what was lost or done twice.
type program struct {
	recipe
	needs []string // commands that it consists of
	flags []string // for criu dump and for both restores
}

// The patterns are relative to testdata/victims.
var programs = []program{
	{recipe{"threads200", []string{"../programs/threads200.cc", "victim.h"}, []string{"-std=c++17", "-pthread"},
		compileCxx}, nil, nil},
	{driven("pool", "pool.py"), nil, nil},
	{driven("shell", "shell.py"), []string{"bash", "awk"}, nil},
	{driven("redis", "redis.py"), []string{"redis-server"}, established},
	{driven("tmux", "tmux.py"), []string{"tmux"}, nil},
	{driven("nginx", "nginx.py"), []string{"/usr/sbin/nginx"}, established},
	{postgres(), nil, established},
	{serving("goserver", "goserver/main.go", compileGo), nil, established},
	{serving("node", "server.js", interpreter("/usr/bin/node", "node")), nil, established},
}

// live are programs that are not dumped; `crpie try` meets them at work.
var live = []program{{serving("jvm", "Server.java", java), nil, established}}

// established: connections between the dumped processes are dumped with what is on its way in them.
var established = []string{"--tcp-established"}

// driven is the recipe of a program whose driver is written in Python.
func driven(name, file string) recipe {
	return recipe{name, []string{"../programs/" + file}, nil, func(tb testing.TB, r recipe) []string {
		python := NeedTool(tb, "/usr/bin/python3", "python3")
		return []string{python, "-B", r.files(tb)[0]} // -B: no __pycache__
	}}
}

// serving is the recipe of a web server, which webserver.py starts and gives work.
func serving(name, source string, how func(testing.TB, recipe) []string) recipe {
	return recipe{name, []string{"../programs/" + source}, nil, func(tb testing.TB, r recipe) []string {
		driver := driven(name, "webserver.py")
		return append(driver.how(tb, driver), how(tb, r)...)
	}}
}

// java has a small heap, so that the collector has work. Its counters in /tmp would outlive a JVM that is killed.
func java(tb testing.TB, r recipe) []string {
	jvm := NeedTool(tb, "/usr/bin/java", "java")
	return []string{jvm, "-XX:+UseG1GC", "-Xmx64m", "-XX:-UsePerfData", r.files(tb)[0]}
}

// postgres is started in an IPC namespace, because CRIU cannot dump the System V memory that it has outside one.
func postgres() recipe {
	driver := driven("postgres", "postgres.py")
	return recipe{"postgres", driver.sources, nil, func(tb testing.TB, r recipe) []string {
		found, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // they are not in $PATH
		Need(tb, len(found) > 0, "PostgreSQL")
		return append([]string{"unshare", "--ipc"}, append(driver.how(tb, r), found[len(found)-1])...)
	}}
}

// Programs names all of them.
func Programs() []string {
	var names []string
	for _, p := range programs {
		names = append(names, p.name)
	}
	return names
}

// StartProgram starts a program and waits until it is at work. flags are what criu dump and the restores need for it.
func StartProgram(tb testing.TB, name string) (p *Process, flags []string) {
	tb.Helper()
	all := slices.Concat(programs, live)
	i := slices.IndexFunc(all, func(p program) bool { return p.name == name })
	if i < 0 {
		tb.Fatalf("no program is called %s", name)
	}
	for _, tool := range all[i].needs {
		NeedTool(tb, tool)
	}
	p, flags = StartCommand(tb, name, all[i].how(tb, all[i].recipe)...), all[i].flags
	p.Connected = len(flags) > 0
	return p, flags
}

// compileCxx compiles the sources of a recipe. Headers are among its files because the product's name has a digest of
// all.
func compileCxx(tb testing.TB, r recipe) []string {
	cxx := NeedTool(tb, "c++", "g++")
	return r.cached(tb, func(out string, files []string) *exec.Cmd {
		args := []string{"-O2", "-g", "-Wall", "-Wextra", "-Werror", "-o", out}
		for _, file := range files {
			if strings.HasSuffix(file, ".cc") {
				args = append(args, file)
			}
		}
		return command(tb, cxx, append(args, r.flags...)...)
	})
}

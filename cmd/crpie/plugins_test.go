//go:build linux && amd64

package main

import (
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// cloned is a program whose clones draw the same numbers, and what the plugin reseed says about it. With the plugin
// all differ but those that left names.
type cloned struct {
	name    string
	argv    func(*testing.T) []string
	options string
	says    []string
	left    []string
}

func clonedPrograms() []cloned {
	libc := "renewed: libc's random ("
	return []cloned{
		{name: "glibc", argv: drawing(), says: []string{libc}},
		{name: "static", argv: drawing("-static"), says: []string{libc, "renewed: libc's rand48 ("}},
		{name: "python", argv: interpreted("python3", "draw.py", "gnutls"), says: []string{"renewed: OpenSSL (", libc,
			"copy-of-openssl.so)", "renewed: sqlite (", "renewed: Python's random (", "GnuTLS of "}},
		{name: "node", argv: interpreted("node", "draw.js"), options: ",allow=node",
			left: []string{"Math.random", "randomUUID", "randomInt"},
			says: []string{"renewed: OpenSSL (", "Warn: Math.random, "}},
		{name: "redis", argv: interpreted("python3", "redis.py"), options: ",allow=redis+libgcrypt",
			left: []string{"genpass", "master_replid2"}, says: []string{"renewed: redis (", "Warn: what ACL GENPASS"}},
	}
}

// drawing compiles the program in C.
func drawing(flags ...string) func(*testing.T) []string {
	return func(t *testing.T) []string {
		out := filepath.Join(t.TempDir(), "draw")
		words := append([]string{"-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", out}, flags...)
		cmd := exec.Command(testenv.NeedTool(t, "cc", "gcc"), append(words, source("draw.c"))...)
		if msg, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, msg)
		}
		return []string{out}
	}
}

func source(name string) string { return filepath.Join(testenv.Root(), "testdata", "clones", name) }

func interpreted(interpreter, name string, args ...string) func(*testing.T) []string {
	return func(t *testing.T) []string {
		testenv.NeedTool(t, interpreter)
		return append([]string{interpreter, source(name)}, args...)
	}
}

// draws gives what a program drew after its restore, by name.
func draws(t *testing.T, p *testenv.Process) map[string]string {
	t.Helper()
	p.MustPass(t)
	drew := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^DREW (\S+) (.*)$`).FindAllStringSubmatch(p.Output(), -1) {
		drew[m[1]] = m[2]
	}
	if len(drew) == 0 {
		t.Fatalf("nothing was drawn:\n%s", p.Output())
	}
	return drew
}

func TestReadyReseed(t *testing.T) {
	plugin := testenv.Plugin(t, "plugins/reseed.c")
	for _, c := range clonedPrograms() {
		t.Run(c.name, func(t *testing.T) { separateClones(t, c, plugin+c.options) })
	}
	t.Run("refuses", func(t *testing.T) { reseedRefuses(t, plugin) })
	t.Run("random held", func(t *testing.T) { reseedMeetsLock(t, plugin, "random", "libc's random (") })
	t.Run("RAND_poll held", func(t *testing.T) { reseedMeetsLock(t, plugin, "RAND_poll", "OpenSSL (") })
}

// Two clones of a program draw the same numbers, and with the plugin reseed others.
func separateClones(t *testing.T, c cloned, plugin string) {
	im := testenv.StartCommand(t, c.name, c.argv(t)...).Dump(t)
	draw := func(flags ...string) map[string]string {
		p, output := restore(t, im, append(flags, "-v3")...)
		for _, want := range c.says {
			if strings.Contains(output, want) != (len(flags) > 0) {
				t.Errorf("restore %v: %q; want that only with the plugin, it said:\n%s", flags, want, output)
			}
		}
		return draws(t, p)
	}
	first, second := draw(), draw()
	third, fourth := draw("--pie-plugin", plugin), draw("--pie-plugin", plugin)
	for _, name := range slices.Sorted(maps.Keys(first)) {
		if first[name] != second[name] {
			t.Errorf("%s: %s and %s without the plugin: the test shows nothing", name, first[name], second[name])
		}
		same := third[name] == first[name] || third[name] == fourth[name]
		if left := slices.Contains(c.left, name); same != left {
			t.Errorf("%s: %s and %s with the plugin, %s without; to be left: %v", name, third[name],
				fourth[name], first[name], left)
		}
	}
}

// What cannot be renewed undoes the restore, by name, and a task with no generator has nothing to do.
func reseedRefuses(t *testing.T, plugin string) {
	t.Helper()
	perl := testenv.Start(t, "perl").Dump(t)
	stripped := testenv.StartCommand(t, "stripped", drawing("-static-pie", "-s")(t)...).Dump(t)
	golang := testenv.Start(t, "gorandom-stripped").Dump(t)
	cgo := testenv.StartCommand(t, "cgo", drawing("-DLINKED_WITH_GO")(t)...).Dump(t)
	gnutls := testenv.StartCommand(t, "gnutls", drawing("-DWITH_GNUTLS")(t)...).Dump(t)
	for _, c := range []struct {
		im      *testenv.Images
		options string
		status  int
		says    string
	}{
		{perl, "", 1, "Error: Perl's rand ("},
		{perl, ",allow=perl", 0, "Warn: Perl's rand ("},
		{perl, ",allow=node+pearl", 1, "there is no pearl; it can be all, or"},
		{stripped, "", 1, "cannot be renewed, and every clone shares it: allow=stripped goes on all the same"},
		{golang, "", 1, "allow=go goes on all the same"},
		{golang, ",allow=all", 0, "nothing to do"},
		{cgo, "", 1, "allow=go goes on all the same"},
		{gnutls, "", 1, "allow=gnutls goes on all the same"},
	} {
		words := []string{"restore", "-d", "-v3", "-D", c.im.Dir, "--pie-plugin", plugin + c.options}
		status, output := tool(t, c.im, words...)
		if (status != 0) != (c.status != 0) || !strings.Contains(output, c.says) {
			t.Errorf("%q: status %d, want %d and %q:\n%s", c.options, status, c.status, c.says, output)
		}
		if status == 0 {
			c.im.Adopt(t).MustPass(t)
		}
	}
}

// A program that is dumped inside a function that holds a generator's lock is restored.
func reseedMeetsLock(t *testing.T, plugin, function, generator string) {
	argv := append(drawing()(t), function)
	for range 2 {
		im := testenv.StartCommand(t, "draw", argv...).Dump(t)
		p, output := restore(t, im, "-v3", "--pie-plugin", plugin)
		p.MustPass(t)
		held := strings.Contains(output, "a thread was dumped inside "+function)
		if held == strings.Contains(output, "renewed: "+generator) {
			t.Errorf("want it renewed or held; reseed said:\n%s", output)
		}
	}
}

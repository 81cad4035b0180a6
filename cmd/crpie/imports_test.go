//go:build linux && amd64

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/internal/testenv"
)

// written compiles a plugin whose source is given.
func written(t *testing.T, source string) string {
	t.Helper()
	dir, err := os.MkdirTemp(filepath.Join(testenv.Root(), ".cache"), "plugin-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	name := filepath.Join(dir, "p.c")
	if err := os.WriteFile(name, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	relative, err := filepath.Rel(testenv.Root(), name)
	if err != nil {
		t.Fatal(err)
	}
	return testenv.Plugin(t, relative)
}

// A plugin calls functions and uses variables of libraries and of the program, whose child lacks some.
func TestImports(t *testing.T) {
	plugin := testenv.Plugin(t, "testdata/plugins/imports.c")
	im := testenv.Start(t, "imports", "child").Dump(t)
	p, output := restore(t, im, "-v3", "--pie-plugin", plugin)
	p.MustPass(t)
	for _, want := range []string{"libcrypto 3 polled, environ begins with PATH=/usr/bin:/bin",
		"no libcrypto, environ begins with PATH=/usr/bin:/bin"} {
		if !strings.Contains(output, want) {
			t.Errorf("%q is not in\n%s", want, output)
		}
	}
	if out := p.Output(); !strings.Contains(out, "\ngeneration 7\n") || !strings.Contains(out, "child: generation 7\n") {
		t.Error(out)
	}
}

const badImports = `#include <crpie/plugin.h>
static int hook(struct crpie_ctx *ctx) { return ctx == NULL; }
CR_PLUGIN_REGISTER_DUMMY("bad")
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, hook)
CRPIE_IMPORT_AS(a, int(void), "_ZN4game7shuffleEl", "libcrypto.so.3", CRPIE_REQUIRED)
CRPIE_IMPORT_AS(b, int(void), "RAND_poll@OPENSSL_9", "libcrypto.so.3", CRPIE_REQUIRED)
CRPIE_IMPORT_AS(c, int(void), "strlen", "libc.so.6", CRPIE_REQUIRED)
CRPIE_IMPORT_AS(d, int, "errno@GLIBC_PRIVATE", "libc.so.6", CRPIE_REQUIRED)
CRPIE_IMPORT_AS(e, int(void), "RAND_poll", "libcrypto.so.1.1", CRPIE_REQUIRED)
CRPIE_IMPORT_AS(f, int(void), "nobody", "", CRPIE_REQUIRED)
`

var badImportsSaid = []string{
	"import game::shuffle(long) of libcrypto.so.3: it exports no such symbol, and the names of others are stripped",
	"import RAND_poll@OPENSSL_9 of libcrypto.so.3: it exports the symbol with version OPENSSL_3.0.0",
	"import strlen of libc.so.6: it is chosen when the program starts (IFUNC)",
	"import errno@GLIBC_PRIVATE of libc.so.6: it is a variable that each thread has for itself (TLS)",
	"import RAND_poll of libcrypto.so.1.1: it is not mapped",
	"import nobody of the program: it has no such symbol",
}

// What is not there is named before a process exists, all of it.
func TestMissingImports(t *testing.T) {
	plugin := written(t, badImports)
	im := testenv.Start(t, "imports").Dump(t)
	for _, args := range [][]string{{"restore", "-d"}, {"restore", "--dry-run"}} {
		status, output := tool(t, im, append(args, "-D", im.Dir, "--pie-plugin", plugin)...)
		for _, want := range badImportsSaid {
			if status != exitFailed || !strings.Contains(output, want) {
				t.Errorf("%q: status %d, %q is not in\n%s", args, status, want, output)
			}
		}
	}
	if left := im.Leftovers(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A graft has the addresses in it: criu restores, and the plugin calls.
func TestImportsOfAGraft(t *testing.T) {
	plugin := testenv.Plugin(t, "testdata/plugins/imports.c")
	im := testenv.Start(t, "imports", "child").Dump(t)
	p := graftOnto(t, im, "-v3", "--pie-plugin", plugin).RestoreCRIU(t)
	p.MustPass(t)
	for _, want := range []string{"libcrypto 3 polled", "no libcrypto, environ begins with", "\ngeneration 7\n",
		"child: generation 7\n"} {
		if out := p.Output(); !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
}

// What a graft cannot know is refused by name: other builds, files that are not there.
func TestMissingImportsOfAGraft(t *testing.T) {
	plugin := written(t, badImports)
	im := testenv.Start(t, "imports").Dump(t)
	out := filepath.Join(t.TempDir(), "out")
	status, output := told(t, "graft", "-D", im.Dir, "-o", out, "--pie-plugin", plugin)
	for _, want := range badImportsSaid {
		if status != exitFailed || !strings.Contains(output, want) {
			t.Errorf("status %d, %q is not in\n%s", status, want, output)
		}
	}
	root := t.TempDir()
	plugin = testenv.Plugin(t, "testdata/plugins/imports.c")
	for _, c := range []struct{ change, want string }{
		{"nothing", ""},
		{"longer", ""},
		{"build", "it is not the file that was there at dump time: it has build id "},
		{"gone", "libc.so.6: it is not the file that was there at dump time: open "},
	} {
		libc := copyMapped(t, im, root)
		b := mustRead(t, libc)
		switch c.change {
		case "longer":
			b = append(b, 0)
			c.want = fmt.Sprintf("it has %d bytes, but had %d", len(b), len(b)-1)
		case "build":
			b[bytes.Index(b, []byte("\x03\x00\x00\x00GNU\x00"))+8] ^= 1 // NT_GNU_BUILD_ID
		}
		if err := os.WriteFile(libc, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if c.change == "gone" {
			os.Remove(libc)
		}
		out := filepath.Join(t.TempDir(), "out")
		status, output := told(t, "graft", "-D", im.Dir, "-o", out, "--root", root, "--pie-plugin", plugin)
		if wrong := c.change != "nothing"; (status == 0) == wrong || !strings.Contains(output, c.want) {
			t.Errorf("%s: status %d, %s", c.change, status, output)
		}
	}
}

// copyMapped copies the files that the dumped task maps, and gives the path of the C library's copy.
func copyMapped(t *testing.T, im *testenv.Images, root string) (libc string) {
	t.Helper()
	dir, err := images.Open(os.DirFS(im.Dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range dir.Tasks[0].Mm.GetVmas() {
		name := dir.VMAName(v)
		if !strings.HasPrefix(name, "/") || v.GetProt()&4 == 0 {
			continue
		}
		to := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, mustRead(t, name), 0o600); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(filepath.Base(name), "libc.so") {
			libc = to
		}
	}
	return libc
}

func mustRead(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The same in a process that lives, and in a copy of it.
func TestImportsOfATry(t *testing.T) {
	plugin := testenv.Plugin(t, "testdata/plugins/imports.c")
	p := testenv.Start(t, "imports", "child")
	pid := strconv.Itoa(p.Pid)
	for _, args := range [][]string{{"--rehearse"}, {"--tree"}} {
		status, _, output := apart(t, append([]string{"try", "-v3", "-p", pid, plugin}, args...)...)
		if status != 0 || !strings.Contains(output, "libcrypto 3 polled") {
			t.Errorf("%q: status %d, %s", args, status, output)
		}
		if want := "optional import game::shuffle(long) of libcrypto.so.3 is NULL"; !strings.Contains(output, want) {
			t.Errorf("%q: %q is not in\n%s", args, want, output)
		}
	}
	status, _, output := apart(t, "try", "-p", pid, written(t, badImports))
	for _, want := range badImportsSaid {
		if status != exitFailed || !strings.Contains(output, want) {
			t.Errorf("status %d, %q is not in\n%s", status, want, output)
		}
	}
	p.MustPass(t)
	if out := p.Output(); !strings.Contains(out, "\ngeneration 7\n") || !strings.Contains(out, "child: generation 7\n") {
		t.Error(out)
	}
}

// Check and inspect list what a plugin imports, in each form.
func TestImportsAreListed(t *testing.T) {
	plugin := testenv.Plugin(t, "testdata/plugins/imports.c")
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"check"}, []string{"; imports RAND_poll of libcrypto.so.3 (optional), " +
			"OpenSSL_version_num@OPENSSL_3.0.0 of libcrypto.so.3 (optional), getpid of libc.so.6 (required), ",
			"renew of the program (required)", "game::shuffle(long) of libcrypto.so.3 (optional)"}},
		{[]string{"inspect"}, []string{"IMPORT ", "game::shuffle(long)  -              libcrypto.so.3  optional\n",
			"renew                -              (the program)   required\n"}},
		{[]string{"check", "-f", "json"}, []string{`"symbol": "OpenSSL_version_num",`, `"version": "OPENSSL_3.0.0",`}},
		{[]string{"inspect", "-f", "json"}, []string{`"symbol": "_ZN4game7shuffleEl",`, `"library": "libcrypto.so.3",`,
			`"required": false`}},
	} {
		status, output := told(t, append(c.args, plugin)...)
		for _, want := range c.want {
			if status != 0 || !strings.Contains(output, want) {
				t.Errorf("%q: status %d, %q is not in\n%s", c.args, status, want, output)
			}
		}
	}
}

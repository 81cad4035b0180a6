//go:build linux && amd64

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/scaffold"
	"github.com/crpie/crpie/internal/testenv"
)

// A new plugin in each language builds, passes its unit test, is one, and runs in a program.
func TestNewPlugins(t *testing.T) {
	for _, l := range scaffold.Languages() {
		t.Run(l.Name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "my-plugin_1.0")
			status, out, stderr := crpie(t, "new", dir, "--lang", l.Name)
			if status != exitOK || stderr != "" || !strings.Contains(out, "make test") || strings.Contains(out, "not in PATH") {
				t.Fatalf("status %d, %s%s", status, out, stderr)
			}
			for _, tool := range l.Tools {
				testenv.NeedTool(t, tool)
			}
			build, err := exec.Command("make", "-C", dir, "all", "CFLAGS=-O2 -g -Wall -Wextra -Werror").CombinedOutput()
			if err != nil || strings.Contains(string(build), "warning") || !strings.Contains(string(build), "checks passed") {
				t.Fatalf("%v\n%s", err, build)
			}
			object := filepath.Join(dir, "hook.o")
			if status, out, _ := crpie(t, "check", object); status != exitOK || !strings.Contains(out, "my-plugin_1.0") ||
				!strings.Contains(out, "prctl") {
				t.Errorf("status %d, %s", status, out)
			}
			status, _, stderr = crpie(t, "try", object, "--", "sh", "-c", `[ "$(cat /proc/$$/comm)" = restored ]`)
			if status != exitOK || !strings.Contains(stderr, "is now restored") {
				t.Errorf("status %d, %s", status, stderr)
			}
			if out, err := exec.Command("make", "-C", dir, "clean").CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			if left, _ := filepath.Glob(dir + "/*.[oa]"); len(left) != 0 {
				t.Errorf("make clean leaves %v", left)
			}
		})
	}
}

// What is there stays, and what fails leaves nothing.
func TestNewRefuses(t *testing.T) {
	t.Chdir(t.TempDir())
	must(t, os.Mkdir("taken", 0o755))
	must(t, os.Symlink("nowhere", "link"))
	for _, c := range []struct {
		args   string
		status int
		says   string
	}{
		{"new", exitUsage, "give the name of one plugin"},
		{"new a b", exitUsage, "give the name of one plugin"},
		{"new hello --lang go", exitUsage, `there is no template in "go": it can be c, c++, rust, asm`},
		{"new taken", exitFailed, "taken is there already: give another name"},
		{"new link", exitFailed, "link is there already"},
		{"new none/hello", exitFailed, "mkdir none/hello: no such file or directory"},
		{"new .", exitFailed, `"." cannot be a plugin's name`},
		{"new -- -x", exitFailed, `"-x" cannot be a plugin's name`},
		{"new a%b", exitFailed, `"a%b" cannot be a plugin's name`},
		{"new " + strings.Repeat("x", 48), exitFailed, "at most 47"},
		{"sdk", exitUsage, "give one directory"},
	} {
		status, out, stderr := crpie(t, strings.Fields(c.args)...)
		if status != c.status || !strings.Contains(stderr, c.says) || out != "" {
			t.Errorf("crpie %s: status %d, %s%s", c.args, status, out, stderr)
		}
	}
	entries, err := os.ReadDir(".")
	must(t, err)
	if taken, _ := os.ReadDir("taken"); len(entries) != 2 || len(taken) != 0 {
		t.Errorf("there are %v, in taken %v", entries, taken)
	}
}

// The SDK out of the binary is that of the source tree; what differs is replaced on demand only.
func TestSDK(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "sdk")
	for range 2 { // the second time there is nothing to do
		if status, out, stderr := crpie(t, "sdk", dir); status != exitOK || !strings.Contains(out, "include "+dir+"/plugin.mk") {
			t.Fatalf("status %d, %s%s", status, out, stderr)
		}
	}
	diff := exec.Command("diff", "-r", dir, filepath.Join(testenv.Root(), "plugin-sdk"))
	for _, other := range []string{"*.o", "templates", "embed.go", "*.pc.in", "new-id_test"} {
		diff.Args = append(diff.Args, "-x", other)
	}
	if out, err := diff.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	must(t, os.WriteFile(dir+"/plugin.mk", nil, 0o644))
	must(t, os.Remove(dir+"/include/crpie/abi.h"))
	must(t, os.Remove(dir+"/include/crpie/log.h"))
	must(t, os.Mkdir(dir+"/include/crpie/log.h", 0o755))
	status, _, stderr := crpie(t, "sdk", dir)
	if status != exitFailed || !strings.Contains(stderr, "plugin.mk is there, and differs: --force replaces it") ||
		!strings.Contains(stderr, "log.h is a directory: remove it") {
		t.Errorf("status %d, %s", status, stderr)
	}
	if _, err := os.Stat(dir + "/include/crpie/abi.h"); err == nil {
		t.Error("something was written")
	}
	must(t, os.Remove(dir+"/include/crpie/log.h"))
	if status, _, stderr := crpie(t, "sdk", "--force", dir); status != exitOK || stderr != "" {
		t.Errorf("status %d, %s", status, stderr)
	}
	build := exec.Command(testenv.NeedTool(t, "make"), "-C", dir+"/examples", "test", "CC=gcc")
	if out, err := build.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// No link leads a file of the SDK to another place.
func TestSDKLinks(t *testing.T) {
	t.Chdir(t.TempDir())
	must(t, os.MkdirAll("sdk/include", 0o755))
	must(t, os.Mkdir("outside", 0o755))
	must(t, os.WriteFile("victim", []byte("mine"), 0o600))
	must(t, os.Symlink("../victim", "sdk/plugin.mk"))
	must(t, os.Symlink("../dangling", "sdk/README.md"))
	status, _, stderr := crpie(t, "sdk", "sdk")
	if status != exitFailed || !strings.Contains(stderr, "sdk/plugin.mk is a symbolic link: --force replaces it") {
		t.Errorf("status %d, %s", status, stderr)
	}
	if status, _, stderr := crpie(t, "sdk", "--force", "sdk"); status != exitOK {
		t.Errorf("status %d, %s", status, stderr)
	}
	if text, err := os.ReadFile("victim"); err != nil || string(text) != "mine" {
		t.Errorf("the link's target now has %d bytes, %v", len(text), err)
	}
	if info, err := os.Lstat("sdk/plugin.mk"); err != nil || !info.Mode().IsRegular() {
		t.Errorf("the link is still there: %v", err)
	}
	if _, err := os.Lstat("dangling"); err == nil {
		t.Error("a file was made where a link led")
	}
	must(t, os.RemoveAll("sdk/include/crpie"))
	must(t, os.Symlink("../../outside", "sdk/include/crpie"))
	for _, args := range [][]string{{"sdk", "sdk"}, {"sdk", "--force", "sdk"}} {
		status, _, stderr := crpie(t, args...)
		if status != exitFailed || !strings.Contains(stderr, "escapes") {
			t.Errorf("status %d, %s", status, stderr)
		}
	}
	if made, _ := os.ReadDir("outside"); len(made) != 0 {
		t.Errorf("there are %v in another directory", made)
	}
}

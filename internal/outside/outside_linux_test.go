//go:build amd64

package outside_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestImport compiles and runs a module that imports this one. It needs no network: what this module requires is in the
// module cache.
func TestImport(t *testing.T) {
	top, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	copyTo(t, filepath.Join(dir, "main.go"), "testdata/main.go")
	copyTo(t, filepath.Join(dir, "go.sum"), filepath.Join(top, "go.sum"))
	gomod := "module example.com/outside\n\ngo 1.26.0\n\nrequire github.com/crpie/crpie v0.0.0\n\nreplace github.com/crpie/crpie => " + top + "\n"
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(gomod), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "run", ".", top, dumped(t, top))
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off")
	out, err := cmd.CombinedOutput()
	want := `hook last PIE_RST_PRE_SIGRETURN
loader: true true, loader.Violation
images: true true, *images.Error
restorer: true true, *images.Error
restorer: true true, refusal.Problem
graft: true true, refusal.Problem
true graft plugins
options: Cgroups is "gone", want one of ["ignore" "none" "props" "soft" "full" "strict"]
options: FileValidation is "crc", want one of ["buildid" "filesize"]
options: Readers is -2, want -1 or more
options: Inherit[0] needs a descriptor, which is -1, and Open
options: LogLevel is level 9, want off to debug
options: HookTimeout is -1s, want 0 or more
options: Timeout is -1ns, want 0 or more
options: HookTimeout is -1s, want 0 or more
options: LogLevel is level 5, want off to debug
`
	if err != nil || string(out) != want {
		t.Errorf("%v: got\n%swant\n%s", err, out, want)
	}
}

// dumped is what criu dump wrote, with zeros for the contents of memory.
func dumped(t *testing.T, top string) string {
	t.Helper()
	dir := t.TempDir()
	err := os.CopyFS(dir, os.DirFS(filepath.Join(top, "testdata", "images", "static")))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "pages-1.img"), make([]byte, 1110016), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func copyTo(t *testing.T, to, from string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

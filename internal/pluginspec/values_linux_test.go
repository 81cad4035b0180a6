package pluginspec

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/loader"
)

// handed gives a descriptor as a shell would: it stays open over execve(2). Who reads it closes it.
func handed(t *testing.T, text string) int {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Dup(int(r.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	go func() { // more than a pipe holds
		fmt.Fprint(w, text)
		w.Close()
	}()
	return fd
}

func TestValues(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return "@" + name
	}
	t.Setenv("CRPIE_TEST_VALUE", "from the environment")
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	own, err := os.Open(dir) // closed by execve: not one that crpie was given
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	most := strings.Repeat("x", maxValue)
	for _, c := range []struct{ value, want, problem string }{
		{"plain", "plain", ""}, {"", "", ""}, {"a@b", "a@b", ""}, {"@@", "@", ""}, {"@@env:X", "@env:X", ""},
		{write("a", "one\ntwo\n\n"), "one\ntwo\n", ""}, {write("empty", ""), "", ""},
		{write("most", most), most, ""}, {write("more", most+"x"), "", "longer than 65536 bytes"},
		{write("nul", "a\x00b"), "", "has a NUL byte, at which the string would end in a plugin"},
		{"@" + dir, "", "it is a directory, not a regular file"},
		{"@" + filepath.Join(dir, "fifo"), "", "it is a FIFO, not a regular file"},
		{"@", "", "no such file or directory"}, {"@env:CRPIE_TEST_VALUE", "from the environment", ""},
		{"@env:CRPIE_NO_VALUE", "", "environment variable CRPIE_NO_VALUE is not set"},
		{fmt.Sprintf("@fd:%d", handed(t, "secret\n")), "secret", ""},
		{fmt.Sprintf("@fd:%d", handed(t, most+"xy")), "", "longer than 65536 bytes"},
		{fmt.Sprintf("@fd:%d", own.Fd()), "", "crpie was started without descriptor"},
		{"@fd:", "", "write @fd:N with the number of a descriptor"},
		{"@fd:-1", "", "write @fd:N"}, {"@fd:99999999999", "", "write @fd:N"},
		{"@task:", "", "write @task:FILE"},
		{"@fd:1000000", "", "crpie was started without descriptor 1000000"},
	} {
		kv := blob.Param{Key: "key", Value: c.value}
		err := new(values).read(&kv)
		switch {
		case c.problem != "":
			if err == nil || !strings.HasPrefix(err.Error(), "parameter key="+c.value+": ") ||
				!strings.Contains(err.Error(), c.problem) {
				t.Errorf("%s: %v, want %s", c.value, err, c.problem)
			}
		case err != nil || kv.Value != c.want:
			t.Errorf("%s: %q, %v", c.value, kv.Value, err)
		case kv.Source != "" && kv.Source != c.value || kv.Source == "" && kv.Value != strings.TrimPrefix(c.value, "@"):
			t.Errorf("%s: source %q", c.value, kv.Source)
		}
	}
}

// Plugins may share a descriptor, which is closed then.
func TestDescriptorsAreReadOnce(t *testing.T) {
	fd := handed(t, "secret")
	var v values
	for range 2 {
		if text, err := v.from(fmt.Sprintf("fd:%d", fd)); err != nil || text != "secret" {
			t.Errorf("%q, %v", text, err)
		}
	}
	if inherited(fd) {
		t.Errorf("descriptor %d is still open", fd)
	}
}

// Standard input is empty afterwards, not closed: the next file that is opened would take its place. The other standard
// streams are what crpie writes to.
func TestStandardStreamsStay(t *testing.T) {
	saved, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(saved)
	defer unix.Dup3(saved, 0, 0)
	fd := handed(t, "secret\n")
	if err := unix.Dup3(fd, 0, 0); err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	if text, err := new(values).from("fd:0"); err != nil || text != "secret" {
		t.Errorf("%q, %v", text, err)
	}
	if name, err := os.Readlink("/proc/self/fd/0"); err != nil || name != os.DevNull {
		t.Errorf("standard input is %q, %v", name, err)
	}
	for _, source := range []string{"fd:1", "fd:2", "fd:01"} {
		if _, err := new(values).from(source); err == nil || !strings.Contains(err.Error(), "is where crpie writes") {
			t.Errorf("%s: %v", source, err)
		}
	}
}

// The last of two values counts, but a plugin would take a file in the task before any value.
func TestOneWayToGiveAValue(t *testing.T) {
	plugin := &loader.Plugin{Name: "p", DeclaresParams: true,
		Params: []loader.Param{{Name: "id", Kind: loader.ParamString, InTask: true}}}
	const twice = "parameter id is given as @task:FILE and as a value: give one of them"
	for spec, want := range map[string]string{
		"p.o,id=a,id=b":               "<nil>",
		"p.o,id=@task:/a,id=@task:/b": "<nil>",
		"p.o,id=@task:/a,id=b":        twice,
		"p.o,id=b,id=@task:/a,id=c":   twice,
	} {
		_, in, err := Parse(spec)
		if err != nil {
			t.Fatal(err)
		}
		in.Plugin = plugin
		if err := Check(in); fmt.Sprint(err) != want {
			t.Errorf("%s: %v, want %s", spec, err, want)
		}
	}
}

//go:build linux && amd64

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// A graft calls them as well: criu restores, and the program finds that its hooks ran.
func TestResidentHooksOfAGraft(t *testing.T) {
	im := testenv.Start(t, "resident").Dump(t)
	for _, args := range [][]string{{"--resident-hooks=require", "-v3"}, {"--resident-hooks=resident", "-v3", "--pie-plugin",
		trace(t), "--allow-skipped-stages", "--copy"}} {
		grafted := graftOnto(t, im, args...)
		p := grafted.RestoreCRIU(t)
		wantHooks(t, p, "\nhooks 2: 1 2, of threads 3\n")
		if out := p.Output(); strings.Count(out, "resident hook") != 2 {
			t.Error(out)
		}
		if file := mustRead(t, filepath.Join(grafted.Dir, "crpie-graft.json")); !strings.Contains(string(file),
			`"resident:resident PIE_RST_PRE_SIGRETURN_THREAD of_thread"`) {
			t.Errorf("%s", file)
		}
	}
	im = testenv.Start(t, "resident", "other").Dump(t)
	for which, want := range map[string]string{"require": "task [0-9]+: resident hooks: criu_hooks of /",
		"auto": "no plugin runs in any living task that --task permits, and none carries hooks itself"} {
		status, output := told(t, "graft", "-D", im.Dir, "-o", filepath.Join(t.TempDir(), "out"), "--resident-hooks="+which)
		if status != exitFailed || !regexp.MustCompile(want).MatchString(output) {
			t.Errorf("%s: status %d, %s", which, status, output)
		}
	}
	p := graftOnto(t, im, append(traced(t), "--resident-hooks")...).RestoreCRIU(t)
	wantHooks(t, p, "\nhooks 0: 0 0, of threads 0\n")
}

// A file of another build than the dumped one may have had hooks: where all are required that is a refusal, else a
// note.
func TestResidentHooksOfOtherBuilds(t *testing.T) {
	victim := testenv.Start(t, "resident")
	root, program, libc := t.TempDir(), "", ""
	for _, name := range codeOf(t, victim.Pid) {
		data := mustRead(t, name)
		switch base := filepath.Base(name); {
		case base == "resident":
			program = name
		case strings.HasPrefix(base, "libc."):
			libc, data = name, mustRead(t, program)
		}
		copied := filepath.Join(root, name)
		must(t, os.MkdirAll(filepath.Dir(copied), 0o700))
		must(t, os.WriteFile(copied, data, 0o700))
	}
	im := victim.Dump(t)
	graft := []string{"graft", "-D", im.Dir, "-o", filepath.Join(t.TempDir(), "out"), "--root", root}
	want := "resident hooks: read " + libc + ": it is not the file that was there at dump time: it has "
	status, output := told(t, append(graft, "--resident-hooks=require")...)
	if status != exitFailed || !strings.Contains(output, want) || !strings.Contains(output, "say with --root") {
		t.Errorf("require: status %d, no %q in %s", status, want, output)
	}
	status, output = told(t, append(graft, "--resident-hooks")...)
	if status != exitOK || strings.Count(output, want) != 1 {
		t.Errorf("auto: status %d, no %q in %s", status, want, output)
	}
}

// codeOf lists the files of which a process maps code, the program first.
func codeOf(t *testing.T, pid int) (names []string) {
	t.Helper()
	for line := range strings.Lines(string(mustRead(t, fmt.Sprintf("/proc/%d/maps", pid)))) {
		fields := strings.Fields(line)
		if len(fields) == 6 && fields[1] == "r-xp" && strings.HasPrefix(fields[5], "/") {
			names = append(names, fields[5])
		}
	}
	return names
}

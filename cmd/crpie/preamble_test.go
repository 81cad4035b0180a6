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

// At -v4 the log begins with what a report of a fault needs: versions, arguments, host, images.
func TestLogBeginsWithFacts(t *testing.T) {
	im := testenv.Start(t, "threads").Dump(t)
	conf := filepath.Join(t.TempDir(), "c.conf")
	must(t, os.WriteFile(conf, []byte("restore-detached\nghost-limit 1M\n"), 0o644))
	status, output := tool(t, im, "restore", "-D", im.Dir, "-v4", "--config", conf, "--cpu-cap=fpu", "-x")
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	must(t, err)
	at := 0
	for _, want := range []string{
		`crpie \S+`, `plugin ABI: \d+`, `built with: go1\.\S+ for linux/amd64`,
		`arguments: ` + conf + `:1: --restore-detached=true ` + conf +
			`:2: --ghost-limit=1M --images-dir=\S+ --verbosity=4 --config=` + conf +
			` --cpu-cap=fpu --ext-unix-sk=true`,
		`host: Linux ` + regexp.QuoteMeta(strings.TrimSpace(string(release))) +
			` .*, \d+ CPUs, XSAVE features 0x[0-9a-f]+, vDSO \d+ bytes`,
		`crpie's own: capabilities 0x[0-9a-f]+, bounding set 0x`, `cgroups: .`,
		fmt.Sprintf(`images: version \d, dumped 20\S+Z by CRIU run "\S*", network lock \w+, LSM \w+, root task %d, 1 tasks, \d+ threads`, im.Pid),
		`map the region`,
	} {
		found := regexp.MustCompile(`(?m)^\(00\.\d+\) ` + want).FindStringIndex(output[at:])
		if found == nil {
			t.Fatalf("no %q in order in\n%s", want, output)
		}
		at += found[1]
	}
	if status != exitOK || !regexp.MustCompile(`^\(00\.\d+\) crpie `).MatchString(output) {
		t.Errorf("status %d\n%s", status, output)
	}
	im.Adopt(t).MustPass(t)
	if _, output = tool(t, im, "restore", "-D", im.Dir, "-dv3"); strings.Contains(output, "host: ") {
		t.Errorf("at -v3, too:\n%s", output)
	}
	im.Adopt(t).MustPass(t)
}

// Values of parameters may be secrets: no log and no message has them.
func TestParametersAreNotLogged(t *testing.T) {
	conf := filepath.Join(t.TempDir(), "c.conf")
	must(t, os.WriteFile(conf, []byte("pie-plugin /none.o,token=hunter2\n"), 0o644))
	for _, spec := range []string{"/none.o,token=hunter2,select=root,k\\,=hunter2", "/none.o,=hunter2",
		"/none.o,x=hunter2,select=hunter", ",x=hunter2"} {
		_, out, stderr := crpie(t, "restore", "-D", "/nonexistent", "-v4", "--config", conf, "--pie-plugin",
			spec)
		if text := out + stderr; strings.Contains(text, "hunter2") ||
			!strings.Contains(text, "--pie-plugin=/none.o,token=...") {
			t.Errorf("%s:\n%s", spec, text)
		}
	}
	_, _, stderr := crpie(t, "restore", "-D", "/nonexistent", "-v4", "--no-default-config", "--exec-cmd", "--",
		"true", "hunter2")
	if strings.Contains(stderr, "hunter2") || !strings.Contains(stderr, " -- true\n") {
		t.Errorf("--exec-cmd:\n%s", stderr)
	}
}

//go:build linux && amd64

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
	"github.com/crpie/crpie/restorer"
)

// failureOf is the one JSON object that a failed restore prints.
func failureOf(t *testing.T, output string) (f jsonFailure) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(output))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil || d.More() || f.SchemaVersion != 1 || f.Message == "" {
		t.Errorf("%v in\n%s", err, output)
	}
	return f
}

// A failed restore says as JSON what went wrong, where, and what to do.
func TestFailuresAsJSON(t *testing.T) {
	im := testenv.Start(t, "threads").Dump(t)
	fail := testenv.Plugin(t, "testdata/plugins/fail.c")
	dir := t.TempDir()
	noPlugin, broken := filepath.Join(dir, "none.o"), filepath.Join(dir, "broken")
	must(t, os.WriteFile(noPlugin, []byte("nothing"), 0o644))
	must(t, os.CopyFS(broken, os.DirFS(im.Dir)))
	must(t, os.Truncate(filepath.Join(broken, "pstree.img"), 11))
	script := filepath.Join(dir, "script")
	must(t, os.WriteFile(script, []byte("#!/bin/sh\nexit 4\n"), 0o755))
	for name, tc := range map[string]struct {
		args   []string
		status int
		want   func(f *jsonFailure) bool
	}{
		"hook, errno": {[]string{"--pie-plugin", fail + ",stage=POST_FILES,how=error"}, 1,
			func(f *jsonFailure) bool {
				return f.Kind == "hook" && f.Task == im.Pid && f.Thread == im.Pid &&
					f.Plugin == "fail" && f.Hook == "PIE_RST_POST_FILES" &&
					f.Function == "fail_POST_FILES" && strings.HasSuffix(f.File, "fail.c") &&
					f.Line > 0 && f.Errno == "EIO"
			}},
		"hook, crash": {[]string{"--pie-plugin", fail + ",stage=PRE_CREDS,how=null"}, 1,
			func(f *jsonFailure) bool {
				return f.Kind == "hook" && f.Hook == "PIE_RST_PRE_CREDS" && f.Line > 0 &&
					f.Errno == "" && strings.Contains(f.Message, "SIGSEGV")
			}},
		"objects": {[]string{"--pie-plugin", noPlugin, "--pie-plugin", noPlugin}, 1, func(f *jsonFailure) bool {
			return f.Kind == "plugin" && len(f.Problems) == 2 && f.Problems[1].Where == noPlugin &&
				f.Problems[1].Code != "" && f.Problems[1].What != ""
		}},
		"images": {[]string{"-D", broken}, 1, func(f *jsonFailure) bool {
			return f.Kind == "images" && f.File == "pstree.img"
		}},
		"no images": {[]string{"-D", "/nonexistent"}, 1, func(f *jsonFailure) bool {
			return f.Kind == "other" && f.Errno == "ENOENT" && strings.Contains(f.Message, "/nonexistent")
		}},
		"script": {[]string{"--action-script", script}, 1, func(f *jsonFailure) bool {
			return f.Kind == "script" && f.Action == restorer.PreRestore && f.File == script
		}},
		"usage": {[]string{"--cpu-cap=fpu,cpu", "--stream"}, 2, func(f *jsonFailure) bool {
			return f.Kind == "usage" && strings.Contains(f.Message, "--cpu-cap=fpu,cpu") &&
				strings.Contains(f.Message, "--stream")
		}},
		"configuration": {[]string{"--config", noPlugin}, 2, func(f *jsonFailure) bool {
			return f.Kind == "usage" && strings.Contains(f.Message, "none.o:1: unknown flag: --nothing")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			status, output := tool(t, im, append(
				[]string{"restore", "-d", "-D", im.Dir, "--format", "json"}, tc.args...)...)
			if f := failureOf(t, output); status != tc.status || f.ExitStatus != status || !tc.want(&f) {
				t.Errorf("status %d\n%s", status, output)
			}
		})
	}
	p, output := restore(t, im, "-f", "json")
	if output != "" {
		t.Errorf("a restore that succeeds prints %s", output)
	}
	// its pid is taken now
	status, output := tool(t, im, "restore", "-d", "-D", im.Dir, "-f", "json")
	f := failureOf(t, output)
	if status != exitFailed || f.Kind != "refused" || len(f.Problems) == 0 || f.Problems[0].Fix == "" ||
		f.Problems[0].Where != fmt.Sprintf("task %d thread %d", im.Pid, im.Pid) {
		t.Errorf("status %d\n%s", status, output)
	}
	p.MustPass(t)
}

// A signal that ends the restore is the reason, and in the status.
func TestSignalAsJSON(t *testing.T) {
	im := testenv.Start(t, "static").Dump(t)
	r := start(t, im, "-d", "-f", "json", "-v4", "--pie-timeout", "0", "--pie-plugin",
		testenv.Plugin(t, "testdata/plugins/fail.c")+",stage=POST_FILES,how=hang")
	r.says(t, "start the zygote")
	must(t, r.Process.Signal(syscall.SIGTERM))
	status := r.ends()
	output := r.output()
	if f := failureOf(t, output[strings.Index(output, "{"):]); status != 128+15 || f.ExitStatus != status ||
		f.Kind != "signal" || f.Signal != "SIGTERM" {
		t.Errorf("status %d\n%s", status, output)
	}
}

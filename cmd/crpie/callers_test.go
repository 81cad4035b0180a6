//go:build linux && amd64

package main

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

const callersSource = "testdata/plugins/callers.c"

// failures are what is said of a hook that fails below what it has called. LIBC is the library, AT a line of the
// plugin, UNSURE what a plugin without call frame information adds.
var failures = map[string]string{
	"library":  `LIBC: crashed with SIGSEGV at address 0x0\n    called by measure\+0x[0-9a-f]+AT`,
	"callback": `crashes\+0x[0-9a-f]+AT: crashed with SIGSEGV at address 0x0\n(    called by LIBCUNSURE\n)+    called by sort\+0x[0-9a-f]+AT`,
	"nowhere":  `address 0x10, where nothing is mapped: crashed with SIGSEGV at address 0x10\n    called by measure\+0x[0-9a-f]+AT`,
	"hang":     `never_returns\+0x[0-9a-f]+AT: still running after 200ms \(--pie-timeout\)\n(    called by LIBCUNSURE\n)+    called by sort\+0x[0-9a-f]+AT`,
	"error":    `fail_below\+0x0AT: returned -5 \(EIO\): no room for 7`,
}

// inlined is said where there is debug information.
const inlined = `fail_below\+0x[0-9a-f]+ \([^ ]*/crpie/string\.h:\d+(, inlined at [^ ]*/crpie/string\.h:\d+)*, inlined at [^ ]*/callers\.c:\d+\): ` +
	`crashed with SIGSEGV at address 0x0`

func failurePattern(text string, debug bool) *regexp.Regexp {
	at, unsure := "", `(, perhaps: the stack has this address)?`
	if debug {
		at, unsure = ` \([^ ]*/callers\.c:\d+\)`, ""
	}
	libc := `([a-z_0-9]+\+0x[0-9a-f]+ in )?/[^ ]*libc[.-][^ ]*so[^ ]*?(\+0x[0-9a-f]+)?`
	return regexp.MustCompile(strings.NewReplacer("LIBC", libc, "AT", at, "UNSURE", unsure).Replace(text))
}

// A hook that fails in a library, or in what a library has called, is reported with the way there.
func TestCallersOfAFailure(t *testing.T) {
	objects := map[string]string{
		"-g": testenv.Plugin(t, callersSource), "-g0": testenv.Plugin(t, callersSource, "-g0"),
		"-gz": testenv.Plugin(t, callersSource, "-gz"), "-gdwarf-4": testenv.Plugin(t, callersSource, "-gdwarf-4"),
		"-fno-omit-frame-pointer": testenv.Plugin(t, callersSource, "-fno-omit-frame-pointer"),
		"-fasynchronous-unwind-tables": testenv.Plugin(t, callersSource, "-g1",
			"-fasynchronous-unwind-tables"),
	}
	for flag, object := range objects {
		for how, text := range failures {
			want := failurePattern(text, flag != "-g0")
			status, _, stderr := apart(t, "try", "--pie-timeout", "200ms", object+",how="+how, "--",
				"/bin/sleep", "60")
			if status != exitFailed || !want.MatchString(stderr) {
				t.Errorf("%s, %s: status %d, want %s\n%s", flag, how, status, want, stderr)
			}
		}
	}
	for _, flag := range []string{"-g", "-gz", "-gdwarf-4", "-fno-omit-frame-pointer"} {
		_, _, stderr := apart(t, "try", objects[flag]+",how=inlined", "--", "/bin/sleep", "60")
		if want := regexp.MustCompile(inlined); !want.MatchString(stderr) {
			t.Errorf("%s: want %s\n%s", flag, want, stderr)
		}
	}
}

// It is the same in a restore, and in a copy of a process.
func TestCallersInARestore(t *testing.T) {
	object := testenv.Plugin(t, callersSource)
	victim := testenv.Start(t, "threads")
	for how, text := range failures {
		_, _, stderr := apart(t, "try", "-p", strconv.Itoa(victim.Pid), "--rehearse", "--pie-timeout", "200ms",
			object+",how="+how)
		if want := failurePattern(text, true); !want.MatchString(stderr) {
			t.Errorf("%s: want %s\n%s", how, want, stderr)
		}
	}
	im := victim.Dump(t)
	for how, text := range failures {
		status, output := tool(t, im, "restore", "-d", "-D", im.Dir, "--pie-timeout", "200ms",
			"--pie-plugin", object+",how="+how)
		if want := failurePattern(text, true); status != exitFailed || !want.MatchString(output) {
			t.Errorf("%s: status %d, want %s\n%s", how, status, want, output)
		}
	}
	for how, want := range map[string]string{
		"inlined": `"inlined_at": \[\s*"[^"]*string\.h:\d+",\s*"[^"]*callers\.c:\d+"\s*\]`,
		"library": `"file": "[^"]*callers\.c",(?s:.*)"callers": \[\s*"measure\+`,
	} {
		_, output := tool(t, im, "restore", "-d", "-D", im.Dir, "-f", "json",
			"--pie-plugin", object+",how="+how)
		if !regexp.MustCompile(want).MatchString(output) {
			t.Errorf("%s: want %s\n%s", how, want, output)
		}
	}
}

// What an earlier hook of the same stage has logged is not the reason why a later one fails.
func TestErrorOfAnEarlierHook(t *testing.T) {
	plugin := testenv.Plugin(t, "testdata/plugins/twice.c")
	im := testenv.Start(t, "static").Dump(t)
	for _, args := range [][]string{
		{"restore", "-D", im.Dir, "--pie-plugin", plugin}, {"try", plugin, "--", "/bin/true"},
	} {
		status, _, stderr := apart(t, args...)
		if status != exitFailed || !strings.Contains(stderr, "returned -5 (EIO)") ||
			!strings.Contains(stderr, "PIE_RST_POST_FILES: Error: of no importance") ||
			strings.Contains(stderr, "(EIO): of no importance") {
			t.Errorf("%s: status %d\n%s", args[0], status, stderr)
		}
	}
}

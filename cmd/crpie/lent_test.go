//go:build linux && amd64

package main

import (
	"strconv"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// lentPlugins end sleeps, and make timers three times as slow.
func lentPlugins(t *testing.T) []string {
	t.Helper()
	return []string{"--pie-plugin", testenv.Plugin(t, "plugin-sdk/examples/wake.c"),
		"--pie-plugin", testenv.Plugin(t, "plugin-sdk/examples/stretch.c") + ",factor=3"}
}

// Hooks change registers and timers, whoever runs them: the victim looks at what it has.
func TestHooksChangeRegistersAndTimers(t *testing.T) {
	plugins := lentPlugins(t)
	im := testenv.Start(t, "lent", "3").Dump(t)
	t.Run("restore", func(t *testing.T) {
		p, _ := restore(t, im, plugins...)
		p.MustPass(t)
	})
	t.Run("graft", func(t *testing.T) { graftOnto(t, im, plugins...).RestoreCRIU(t).MustPass(t) })
	t.Run("try", func(t *testing.T) {
		p := testenv.Start(t, "lent", "3")
		args := append([]string{"try", "-p", strconv.Itoa(p.Pid)}, onlyPlugins(plugins)...)
		if status, _, stderr := apart(t, args...); status != 0 {
			t.Fatal(stderr)
		}
		p.MustPass(t)
	})
}

func onlyPlugins(flags []string) (all []string) {
	for i := 1; i < len(flags); i += 2 {
		all = append(all, flags[i])
	}
	return all
}

// spoiled is what no hook may leave, and what crpie says of it.
var spoiled = map[string]string{
	"reg=ip,value=0xffffffff81000000": "ip: 0xffffffff81000000 instead of",
	"reg=ip,value=0x800000000000":     ", no address of a program",
	"reg=ip,value=0x7ffffffff000":     "ip: 0x7ffffffff000 instead of",
	"reg=sp,value=0xffff800000000000": "sp: 0xffff800000000000 instead of",
	"reg=flags,value=0x100":           ": only CF, PF, AF, ZF, SF, DF and OF may be others",
	"reg=flags,value=0x3000":          "flags: 0x3",
	"reg=flags,value=0x4000":          "flags: 0x4",
	"reg=flags,value=0x100000000":     "flags: 0x100000",
	"reg=cs,value=0x10":               "cs: 0x10 instead of 0x33, which a hook must not change",
	"reg=ss,value=0":                  "ss: 0x0 instead of 0x2b, which a hook must not change",
	"reg=fs,value=0x33":               "fs: 0x33 instead of 0x0, which a hook must not change",
	"reg=gs_base,value=1":             "gs_base: 0x1 instead of 0x0, which a hook must not change",
	"reg=syscall,value=1":             "syscall: 0x1 instead of",
	"timer=kind":                      "kind",
	"timer=id":                        "which a hook must not change",
	"timer=clock":                     "which a hook must not change",
	"timer=remaining":                 "remaining_ns of a timer: ",
	"timer=interval":                  ": it is negative",
	"timer=id,notsup=yes":             "which a hook must not change",
}

// A hook that leaves a register or a timer that cannot be fails by its name, and the restore with it.
func TestSpoiledRegistersAndTimers(t *testing.T) {
	plugin := testenv.Plugin(t, "testdata/plugins/spoil.c")
	im := testenv.Start(t, "lent").Dump(t)
	for parameters, want := range spoiled {
		stage := "PIE_RST_PRE_SIGRETURN_THREAD"
		if strings.HasPrefix(parameters, "timer") {
			stage = "PIE_RST_PRE_SIGRETURN"
		}
		status, out := tool(t, im, "restore", "-d", "-D", im.Dir, "--pie-plugin", plugin+","+parameters)
		if status == 0 || !strings.Contains(out, want) || !strings.Contains(out, "spoil: "+stage+": ") ||
			!strings.Contains(out, "plugin spoil, hook "+stage) {
			t.Errorf("restore, %s: status %d, not %q\n%s", parameters, status, want, out)
		}
	}
	p, _ := restore(t, im, "--pie-plugin", plugin+",reg=flags,value=0xcd5") // CF, PF, AF, ZF, SF, DF, OF
	if err := p.Kill(); err != nil {
		t.Error(err)
	}
}

// In a graft such a hook is refused as well, and with --on-error=continue the task goes on with what it had.
func TestSpoiledRegistersInAGraft(t *testing.T) {
	plugin := testenv.Plugin(t, "testdata/plugins/spoil.c")
	im := testenv.Start(t, "lent").Dump(t)
	for _, parameters := range []string{"reg=ip,value=0xffffffff81000000", "reg=flags,value=0x4000",
		"timer=interval", "timer=id,notsup=yes"} {
		p := graftOnto(t, im, "--pie-plugin", plugin+","+parameters, "--on-error=continue").RestoreCRIU(t)
		p.MustPass(t)
		if !strings.Contains(p.Output(), spoiled[parameters]) {
			t.Errorf("%s:\n%s", parameters, p.Output())
		}
	}
}

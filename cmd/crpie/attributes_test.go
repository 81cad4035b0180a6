//go:build linux && amd64

package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// What a process inherits from whoever starts it, the restored one has from before the dump and not from crpie.
func TestRestoreUnderOtherAttributes(t *testing.T) {
	testenv.NeedCRIU(t)
	victim := testenv.Start(t, "static")
	before := snapshot(t, victim)
	im := victim.Dump(t)
	cmd := im.Command(t, testenv.NeedTool(t, "setarch"), "x86_64", "--addr-no-randomize",
		testenv.NeedTool(t, "chrt"), "--batch", "0",
		testenv.NeedTool(t, "nice"), "-n", "5", "/bin/sh", "-c",
		`umask 0; trap '' HUP; ulimit -S -c 0; exec "$@"`, "sh", os.Args[0], "restore", "-d", "-D", im.Dir)
	cmd.Env = append(cmd.Env, asTool+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p := im.Adopt(t)
	for _, line := range comparable(before).Diff(comparable(snapshot(t, p))) {
		t.Error(line)
	}
	p.MustPass(t)
}

// A process that wants to die with its parent would die with a crpie that does not wait for it: crpie warns. With -S
// the parent is who restores.
func TestParentsDeath(t *testing.T) {
	testenv.NeedCRIU(t)
	argv := append([]string{testenv.NeedTool(t, "setpriv"), "--pdeathsig", "TERM"}, testenv.Victim(t, "static")...)
	im := testenv.StartCommand(t, "static", argv...).Dump(t)
	warning := fmt.Sprintf("task %d: its parent-death signal (15) will end it as soon as crpie ends", im.Pid)
	for args, want := range map[string]bool{"": false, "-d": true, "-d -S": false} {
		words := append([]string{"restore", "--dry-run", "-D", im.Dir}, strings.Fields(args)...)
		if status, output := tool(t, im, words...); status != 0 || strings.Contains(output, warning) != want {
			t.Errorf("%q: status %d, want a warning: %v\n%s", args, status, want, output)
		}
	}
	fail := testenv.Plugin(t, "testdata/plugins/fail.c")
	if _, output := tool(t, im, "restore", "-d", "-D", im.Dir, "--pie-plugin",
		fail+",stage=PRE_CREDS,how=error"); !strings.Contains(output, "Warn: "+warning) {
		t.Errorf("no warning in the log:\n%s", output)
	}
	p, output := restore(t, im, "-S")
	if strings.Contains(output, warning) {
		t.Errorf("a warning:\n%s", output)
	}
	p.MustPass(t)
}

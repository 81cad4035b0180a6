//go:build linux && amd64

package main

import (
	"os"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// What a process inherits from whoever starts it, the restored one has from before the dump and not from crpie.
func TestRestoreUnderOtherAttributes(t *testing.T) {
	testenv.NeedCRIU(t)
	victim := testenv.Start(t, "static")
	before := snapshot(t, victim)
	im := victim.Dump(t)
	cmd := im.Command(t, testenv.NeedTool(t, "setarch"), "x86_64", "--addr-no-randomize", testenv.NeedTool(t, "chrt"), "--batch", "0",
		testenv.NeedTool(t, "nice"), "-n", "5", "/bin/sh", "-c", `umask 0; trap '' HUP; ulimit -S -c 0; exec "$@"`, "sh", os.Args[0], "restore", "-d", "-D", im.Dir)
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

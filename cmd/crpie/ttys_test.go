//go:build linux && amd64

package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// A restored terminal keeps its contents, exclusiveness and sessions when it is dumped once more.
func TestTerminalsTwice(t *testing.T) {
	testenv.NeedCRIU(t)
	p, _ := restore(t, testenv.Start(t, "ptys").Dump(t), "--pie-plugin", trace(t))
	p, _ = restore(t, p.Dump(t))
	p.MustPass(t)
}

// A terminal has the number that a program knows it by, or it is refused before anything is created.
func TestTerminalTaken(t *testing.T) {
	im := testenv.Start(t, "ptys").Dump(t)
	var others []*terminal
	defer func() {
		for _, term := range others {
			term.master.Close()
			term.slave.Close()
		}
	}()
	for range 3 {
		others = append(others, newTerminal(t))
	}
	status, output := tool(t, im, "restore", "-d", "-D", im.Dir)
	taken := strings.TrimSpace(others[0].slave.Name())
	want := fmt.Sprintf("terminal %s exists already\n  hint: close the terminal that has this number", taken)
	if status != exitFailed || !strings.Contains(output, want) {
		t.Errorf("status %d, output:\n%s\nwant %s", status, output, want)
	}
	if left := im.Leftovers(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := os.Stat(others[2].slave.Name()); err != nil {
		t.Error(err)
	}
}

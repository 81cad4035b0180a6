package planner

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/restorer/internal/host/hosttest"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// CRIU reads the hexadecimal digits of /proc/PID/personality as a decimal number.
func TestPersonality(t *testing.T) {
	for _, tc := range []struct {
		dumped, want uint32
		ok           bool
	}{
		{0, 0, true},
		{8, 8, true},                 // PER_LINUX32
		{40000, 0x40000, true},       // ADDR_NO_RANDOMIZE
		{1060000, 0x1060000, true},   // with SHORT_INODE and UNAME26
		{40008, 0x40008, true},       // of PER_LINUX32
		{400000, 0x400000, true},     // READ_IMPLIES_EXEC
		{0x40000, 0x40000, true},     // dumped as it is
		{0x1060000, 0x1060000, true}, // the same
		{1, 0, false},                // 01c60000
		{14, 0, false},               // 014e0000
		{4294967295, 0, false},
	} {
		if got, ok := personality(tc.dumped); got != tc.want || ok != tc.ok {
			t.Errorf("personality(%d) = %#x, %v; want %#x, %v", tc.dumped, got, ok, tc.want, tc.ok)
		}
	}
}

// What the application will miss, and the images show, is said; nothing else is.
func TestWarnings(t *testing.T) {
	const sigtermHandler = 0x401000
	detached := job.Options{Detached: true}
	dies := "task 18827: its parent-death signal (15) will end it as soon as crpie ends: restore it without -d, or with -S"
	for name, tc := range map[string]struct {
		signal      uint32
		handler     uint64
		personality uint32
		opts        job.Options
		want        []string
	}{
		"nothing":  {opts: detached},
		"SIGTERM":  {signal: 15, opts: detached, want: []string{dies}},
		"SIGKILL":  {signal: 9, opts: detached, want: []string{strings.Replace(dies, "15", "9", 1)}},
		"handled":  {signal: 15, handler: sigtermHandler, opts: detached},
		"SIGWINCH": {signal: 28, opts: detached},
		"SIGUSR2": {signal: 12, opts: detached,
			want: []string{strings.Replace(dies, "15", "12", 1)}},
		"waited for":  {signal: 15},
		"a sibling":   {signal: 15, opts: job.Options{Detached: true, Sibling: true}},
		"personality": {personality: 40000},
		"broken personality": {personality: 14,
			want: []string{"task 18827 thread 18827: its personality was dumped as 14, which is none: it gets the usual one"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := openSample(t, sampleFS(t, "static"))
			core := dir.Tasks[0].Core
			core.GetThreadCore().PdeathSig = pb.Uint32(tc.signal)
			core.GetTc().Personality = pb.Uint32(tc.personality)
			for _, sig := range []int{12, 15} {
				core.GetTc().Sigactions[images.SigactionIndex(sig)] = &pb.SaEntry{Sigaction: pb.Uint64(
					tc.handler), Flags: pb.Uint64(0),
					Restorer: pb.Uint64(0), Mask: pb.Uint64(0)}
			}
			plan, err := buildSample(t, dir, hosttest.New(dir), &tc.opts)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(plan.Warnings, tc.want) {
				t.Errorf("warnings %q, want %q", plan.Warnings, tc.want)
			}
			var text bytes.Buffer
			plan.Print(&text)
			if n := strings.Count(text.String(), "\nwarning: "); n != len(tc.want) {
				t.Errorf("the plan prints %d warnings", n)
			}
		})
	}
}

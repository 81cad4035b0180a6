//go:build linux && amd64

package inject

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/crpie/crpie/internal/testenv"
	"github.com/crpie/crpie/stage"
)

// BenchmarkPause prints how long a process stands still, without --diff; scripts/bench-try runs it.
func BenchmarkPause(b *testing.B) {
	plugin := testenv.Plugin(b, traceSource)
	for _, c := range []struct {
		name   string
		argv   []string
		stages []stage.Stage
	}{
		{"1 thread, 1 hook", []string{"static"}, []stage.Stage{stage.PreSigreturn}},
		{"10 threads, 1 hook", []string{"threads", "9"}, []stage.Stage{stage.PreSigreturn}},
		{"10 threads, 16 hooks", []string{"threads", "9"}, nil},
		{"python, 1 hook", []string{"python"}, []stage.Stage{stage.PreSigreturn}},
	} {
		b.Run(c.name, func(b *testing.B) {
			victim := testenv.Start(b, c.argv[0], c.argv[1:]...)
			const attachments = 200
			got := order{Pid: victim.Pid, Plugin: plugin, Stages: c.stages,
				Times: attachments}.carryOut(b)
			if got.Error != "" || len(got.Pauses) != attachments {
				b.Fatalf("%d pauses, %s", len(got.Pauses), got.Error)
			}
			slices.Sort(got.Pauses)
			p50, p99 := got.Pauses[attachments/2], got.Pauses[attachments*99/100]
			fmt.Printf("crpie try: %-21s stopped for %8v (p50), %8v (p99)\n", c.name,
				p50.Round(time.Microsecond), p99.Round(time.Microsecond))
			victim.MustPass(b)
		})
	}
}

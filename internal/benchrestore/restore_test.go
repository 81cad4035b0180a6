//go:build linux

package benchrestore

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/crpie/crpie/internal/testenv"
)

var (
	rounds  = flag.Int("rounds", 30, "restores of each small victim with each program")
	only    = flag.String("victims", "static,glibc,threads,python,gigabyte", "comma-separated victims")
	program = flag.String("crpie", "", "the crpie to measure")
	plugin  = flag.String("plugin", "", "a plugin for the third column")
)

// contender is one way to restore: the words before "restore -d -D …", and those after.
type contender struct {
	name        string
	argv, extra []string
}

// BenchmarkRestore prints a table of medians. The contenders take turns, so that what slows the machine down slows all
// of them, and each round begins with another one. A time is that of the whole restorer process, from fork to wait;
// images are in the page cache. scripts/bench starts this with a tmpfs on /run, where CRIU keeps what it found out
// about the kernel; without it every run of CRIU would probe again, which takes longer than the restore.
func BenchmarkRestore(b *testing.B) {
	criu := testenv.NeedCRIU(b)
	if !isTmpfs("/run") {
		b.Fatal("/run is no tmpfs, and CRIU would not cache: use scripts/bench")
	}
	contenders := []contender{
		{"crpie", []string{*program}, nil},
		{"criu", criu.Argv, nil},
		{"crpie+plugin", []string{*program}, []string{"--pie-plugin", *plugin}},
	}
	fmt.Printf("\n%-10s %7s %12s %12s %15s %13s %7s\n", "victim", "rounds", "crpie [ms]", "criu [ms]", "with plugin", "crpie/criu", "range")
	for _, name := range strings.Split(*only, ",") {
		b.Run(name, func(b *testing.B) { measure(b, name, contenders) })
	}
}

func measure(b *testing.B, name string, contenders []contender) {
	images := testenv.Start(b, name).Dump(b)
	n := *rounds
	if name == "gigabyte" {
		n = max(3, n/4)
	}
	times := make([][]time.Duration, len(contenders))
	for round := range n + 1 {
		for i := range contenders {
			who := (i + round) % len(contenders)
			took := restore(b, images, contenders[who])
			if round > 0 { // the first one fills caches
				times[who] = append(times[who], took)
			}
		}
	}
	ratio := median(times[0]) / median(times[1])
	fmt.Printf("%-10s %7d %12.2f %12.2f %15.2f %13.2f %4.2f-%.2f\n", name, n, median(times[0]), median(times[1]),
		median(times[2]), ratio, quantile(times[0], 0.1)/median(times[1]), quantile(times[0], 0.9)/median(times[1]))
	b.ReportMetric(ratio, "crpie/criu")
}

// restore runs one restorer and ends what it restored, so that the pid is free again.
func restore(b *testing.B, images *testenv.Images, c contender) time.Duration {
	dir := b.TempDir()
	words := append(slices.Clone(c.argv[1:]), "restore", "-d", "-D", images.Dir, "-W", dir, "-o", filepath.Join(dir, "log"))
	cmd := images.Command(b, c.argv[0], append(words, c.extra...)...)
	var output strings.Builder
	cmd.Stderr = &output
	start := time.Now()
	err := cmd.Run()
	took := time.Since(start)
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "log"))
		b.Fatalf("%s: %v\n%s%s", strings.Join(cmd.Args, " "), err, output.String(), log)
	}
	if err := images.Adopt(b).Kill(); err != nil {
		b.Fatal(err)
	}
	return took
}

func isTmpfs(path string) bool {
	const tmpfsMagic = 0x01021994 // statfs(2)
	var st syscall.Statfs_t
	return syscall.Statfs(path, &st) == nil && st.Type == tmpfsMagic
}

func median(d []time.Duration) float64 { return quantile(d, 0.5) }

// quantile is in milliseconds.
func quantile(d []time.Duration, q float64) float64 {
	sorted := slices.Sorted(slices.Values(d))
	return sorted[int(q*float64(len(sorted)-1)+0.5)].Seconds() * 1000
}

// What scripts/bench relies on is there.
func TestVictimsExist(t *testing.T) {
	for _, name := range strings.Split(flag.Lookup("victims").DefValue, ",") {
		if !slices.Contains(testenv.Victims(), name) {
			t.Errorf("no victim is called %s", name)
		}
	}
	if _, err := exec.LookPath("unshare"); err != nil {
		t.Errorf("scripts/bench: %v", err)
	}
}

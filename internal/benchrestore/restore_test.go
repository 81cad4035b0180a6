//go:build linux

package benchrestore

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/crpie/crpie/internal/testenv"
)

var (
	rounds = flag.Int("rounds", 30, "restores of each small victim with each program")
	only   = flag.String("victims", "static,glibc,threads,python,threads 500,tree 50,gigabyte,container",
		"comma-separated victims with their arguments")
	program = flag.String("crpie", "", "the crpie to measure")
	plugin  = flag.String("plugin", "", "a plugin for the third column")
)

// contender is one way to restore: the words before "restore -d -D …", and those after.
type contender struct {
	name        string
	argv, extra []string
}

// BenchmarkRestore prints a table of medians. The contenders take turns, so that what slows the machine down slows
// all of them, and each round begins with another one. A time is that of the whole restorer process, from fork to
// wait; images are in the page cache. The last two columns are memory: the proportional set sizes of all restored
// tasks together. scripts/bench starts this with a tmpfs on /run, where CRIU keeps what it found out about the
// kernel; without it every run of CRIU would probe again, which takes longer than the restore.
func BenchmarkRestore(b *testing.B) {
	criu := testenv.NeedCRIU(b)
	if !isTmpfs("/run") {
		b.Fatal("/run is no tmpfs, and CRIU would not cache: use scripts/bench")
	}
	contenders := []contender{
		{"crpie", []string{*program}, nil},
		{"criu", criu.Argv, nil},
		{"crpie+plugin", []string{*program}, []string{"--pie-plugin", *plugin}},
		{"crpie --new-pids", []string{*program}, []string{"--new-pids"}},
	}
	table := fmt.Sprintf("%-11s %6s %11s %11s %14s %11s %11s  %-14s %13s %13s\n", "victim", "rounds", "crpie [ms]",
		"criu [ms]",
		"with plugin", "--new-pids", "crpie/criu", "80% of rounds", "crpie [KiB]", "criu [KiB]")
	for _, name := range strings.Split(*only, ",") {
		b.Run(name, func(b *testing.B) {
			if name == inContainer {
				table += measureContainer(b)
				return
			}
			table += measure(b, name, contenders)
		})
	}
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Printf("\n%sload average of the machine at the end: %s", table, load)
}

// measure returns one line of the table. The last column compares the two of each round, which met the same machine.
func measure(b *testing.B, name string, contenders []contender) string {
	words := strings.Fields(name)
	// victims with sockets need a locked network, these do not, and to unlock it takes CRIU ten times as long as
	// the restore
	images := testenv.Start(b, words[0], words[1:]...).Dump(b, "--network-lock", "skip")
	n := *rounds
	if name == "gigabyte" {
		n = max(3, n/4)
	}
	r := newResults(len(contenders))
	for round := range n + 1 {
		for i := range contenders {
			who := (i + round) % len(contenders)
			took, pss := restore(b, images, contenders[who])
			if round > 0 { // the first one fills caches
				r.add(who, took, pss)
			}
		}
	}
	return r.line(b, name)
}

// results are those of all rounds, by contender: crpie, criu, and perhaps crpie with a plugin and with --new-pids.
type results struct {
	times  [][]float64 // milliseconds
	memory [][]float64 // KiB
}

func newResults(contenders int) *results {
	return &results{make([][]float64, contenders), make([][]float64, contenders)}
}

func (r *results) add(who int, took time.Duration, pss int) {
	r.times[who] = append(r.times[who], took.Seconds()*1000)
	r.memory[who] = append(r.memory[who], float64(pss))
}

// line writes them as one of the table.
func (r *results) line(b *testing.B, name string) string {
	ratios := make([]float64, len(r.times[0]))
	for i := range ratios {
		ratios[i] = r.times[0][i] / r.times[1][i]
	}
	ratio, plugin, newPids := median(r.times[0])/median(r.times[1]), "-", "-"
	if len(r.times) > 2 {
		plugin, newPids = fmt.Sprintf("%.2f", median(r.times[2])), fmt.Sprintf("%.2f", median(r.times[3]))
	}
	b.ReportMetric(ratio, "crpie/criu")
	spread := fmt.Sprintf("%.2f to %.2f", quantile(ratios, 0.1), quantile(ratios, 0.9))
	return fmt.Sprintf("%-11s %6d %11.2f %11.2f %14s %11s %11.2f  %-14s %13.0f %13.0f\n", name, len(ratios),
		median(r.times[0]), median(r.times[1]), plugin, newPids, ratio, spread, median(r.memory[0]),
		median(r.memory[1]))
}

// restore runs one restorer, looks at the memory of what it restored, KiB, and ends it, so that the pids are free
// again.
func restore(b *testing.B, images *testenv.Images, c contender) (took time.Duration, pss int) {
	dir := b.TempDir()
	words := append(slices.Clone(c.argv[1:]), "restore", "-d", "-D", images.Dir, "-W", dir, "-o",
		filepath.Join(dir, "log"), "--pidfile", filepath.Join(dir, "pid"))
	cmd := images.Command(b, c.argv[0], append(words, c.extra...)...)
	var output strings.Builder
	cmd.Stderr = &output
	start := time.Now()
	err := cmd.Run()
	took = time.Since(start)
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "log"))
		b.Fatalf("%s: %v\n%s%s", strings.Join(cmd.Args, " "), err, output.String(), log)
	}
	text, err := os.ReadFile(filepath.Join(dir, "pid"))
	must(b, err)
	pid, err := strconv.Atoi(string(text))
	must(b, err)
	p := images.AdoptAs(b, pid)
	pss = testenv.PSS(b, p.Pid)
	if err := p.Kill(); err != nil {
		b.Fatal(err)
	}
	return took, pss
}

func isTmpfs(path string) bool {
	const tmpfsMagic = 0x01021994 // statfs(2)
	var st syscall.Statfs_t
	return syscall.Statfs(path, &st) == nil && st.Type == tmpfsMagic
}

func median(v []float64) float64 { return quantile(v, 0.5) }

func quantile(v []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(v))
	return sorted[int(q*float64(len(sorted)-1)+0.5)]
}

// What scripts/bench relies on is there.
func TestVictimsExist(t *testing.T) {
	for _, name := range strings.Split(flag.Lookup("victims").DefValue, ",") {
		if name, _, _ := strings.Cut(name, " "); name != inContainer && !slices.Contains(testenv.Victims(), name) {
			t.Errorf("no victim is called %s", name)
		}
	}
	if _, err := exec.LookPath("unshare"); err != nil {
		t.Errorf("scripts/bench: %v", err)
	}
}
